"""Bilinear sampling of a feature map at given points, differentiable in features and points.

Shapes: B batch, H and W size of the map, C channels, G groups of channels, N points.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from hmr_jax.ops.cpu import is_plain, is_portable
from hmr_jax.ops.gathering import by_gather, corner


def sample_points(
    features: jax.Array,
    points_xy: jax.Array,
    method: Literal["matmul", "gather"] = "matmul",
    padding: Literal["zeros", "border"] = "zeros",
) -> jax.Array:
    """Samples features bilinearly.

    Args:
        features: (B, H, W, C).
        points_xy: (B, N, 2) points in pixels of the map, (0, 0) is the centre of the first cell and (W-1, H-1) that of
            the last; or (B, G, N, 2), one set of points for each of G equal groups of channels.
        method: "matmul" multiplies with a dense matrix of weights, most of which are zero: no scatter in the backward
            pass, deterministic, best on TPUs; on CPUs a kernel of our own does the same in float32. "gather" reads the
            four neighbours.
        padding: outside the map, values are zero, or those of the nearest border cell.

    Returns:
        (B, N, C). At integer coordinates the gradient is the right-hand derivative.

    Raises:
        ValueError: shapes do not match, or `method` or `padding` is unknown.
    """
    if points_xy.ndim == 3:
        points_xy = points_xy[:, None]
    batch, height, width, channels = features.shape
    groups = points_xy.shape[1]
    if points_xy.shape[0] != batch or channels % groups:
        raise ValueError(
            f"points_xy {points_xy.shape} do not fit features {features.shape}: the batch sizes must be equal and "
            "the channels divisible by the groups."
        )
    points = points_xy.astype(jnp.float32)
    if padding == "border":
        last = jnp.array([width - 1.0, height - 1.0])
        inside = (points > 0) & (points < last)  # the border itself counts as outside: no gradient, as in PyTorch
        points = jnp.where(inside, points, jax.lax.stop_gradient(jnp.clip(points, 0.0, last)))
    elif padding != "zeros":
        raise ValueError(f"padding must be 'zeros' or 'border', not {padding!r}.")
    features = jnp.asarray(features)
    maps = features.reshape(batch, height * width, groups, channels // groups)
    if method == "matmul" and (is_plain() or is_portable()):
        sampled = _by_matmul(maps, points, height, width)
    elif method == "matmul":
        sampled = jax.lax.platform_dependent(features, points, cpu=_by_kernel, default=_by_product)
    elif method == "gather":
        sampled = by_gather(maps, points, height, width)
    else:
        raise ValueError(f"method must be 'matmul' or 'gather', not {method!r}.")
    return sampled.reshape(batch, -1, channels)


def _by_kernel(features: jax.Array, points: jax.Array) -> jax.Array:
    from hmr_jax.ops.cpu.sampling_kernels import sample_on_cpu  # Numba is loaded where it is needed

    return sample_on_cpu(features.astype(jnp.float32), points).astype(features.dtype)


def _by_product(features: jax.Array, points: jax.Array) -> jax.Array:
    batch, height, width, channels = features.shape
    groups = points.shape[1]
    maps = features.reshape(batch, height * width, groups, channels // groups)
    return _by_matmul(maps, points, height, width)


def _axis_weights(coordinate: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """(...) -> (..., size) linear interpolation weights and their slopes; zero padding: cells outside get no weight."""
    lower, fraction = corner(coordinate)
    cells = jnp.arange(size)
    at_lower = (cells == lower[..., None]).astype(jnp.float32)
    at_upper = (cells == lower[..., None] + 1).astype(jnp.float32)
    return at_lower * (1 - fraction[..., None]) + at_upper * fraction[..., None], at_upper - at_lower


def _cell_weights(x_weights: jax.Array, y_weights: jax.Array) -> jax.Array:
    """(..., W) and (..., H) weights of columns and rows -> (..., H W) of cells."""
    weights = y_weights[..., :, None] * x_weights[..., None, :]
    return weights.reshape(*weights.shape[:-2], -1)


def _by_matmul(maps: jax.Array, points: jax.Array, height: int, width: int) -> jax.Array:
    x_weights, y_weights = _axis_weights(points[..., 0], width)[0], _axis_weights(points[..., 1], height)[0]
    weights = _cell_weights(x_weights, y_weights).astype(maps.dtype)  # (B, G, N, H W)
    return jnp.swapaxes(weights @ jnp.swapaxes(maps, 1, 2), 1, 2)
