"""Bilinear sampling of a feature map at given points, differentiable in features and points.

Letters: B batch, H and W the map, C channels, G groups of channels, N points.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp


def sample_points(
    features: jax.Array,
    points_xy: jax.Array,
    method: Literal["matmul", "gather"] = "matmul",
    padding: Literal["zeros", "border"] = "zeros",
) -> jax.Array:
    """Samples features bilinearly.

    Args:
        features: (B, H, W, C).
        points_xy: (B, N, 2) points in pixels of the map, (0, 0) the centre of the first cell and (W-1, H-1) that of
            the last; or (B, G, N, 2), one set of points for each of G equal groups of channels.
        method: "matmul" multiplies with a sparse-in-content, dense-in-form matrix of weights: no scatter in the
            backward pass, deterministic, best on TPUs; "gather" reads the four neighbours, best for inference on CPUs.
        padding: outside the map, values are zero, or those of the nearest border cell.

    Returns:
        (B, N, C). At whole coordinates the gradient is the right-hand derivative.
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
    maps = jnp.asarray(features).reshape(batch, height * width, groups, channels // groups)
    if method == "matmul":
        on_cpu = jax.default_backend() == "cpu"  # where four reads cost a fifth of the product
        sampled = (_gather_matmul if on_cpu else _by_matmul)(maps, points, height, width)
    elif method == "gather":
        sampled = _by_gather(maps, points, height, width)
    else:
        raise ValueError(f"method must be 'matmul' or 'gather', not {method!r}.")
    return sampled.reshape(batch, -1, channels)


def _corner(coordinate: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Integer cell at or before a coordinate, and the distance from it."""
    lower = jnp.floor(coordinate)
    return lower.astype(jnp.int32), coordinate - jax.lax.stop_gradient(lower)


def _axis_weights(coordinate: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """(..., ) -> (..., size) linear interpolation weights and their slopes; cells outside get none: zero padding."""
    lower, fraction = _corner(coordinate)
    cells = jnp.arange(size)
    at_lower = (cells == lower[..., None]).astype(jnp.float32)
    at_upper = (cells == lower[..., None] + 1).astype(jnp.float32)
    return at_lower * (1 - fraction[..., None]) + at_upper * fraction[..., None], at_upper - at_lower


def _cell_weights(x_weights: jax.Array, y_weights: jax.Array) -> jax.Array:
    """(..., W) and (..., H) weights of columns and rows -> (..., HW) of cells."""
    weights = y_weights[..., :, None] * x_weights[..., None, :]
    return weights.reshape(*weights.shape[:-2], -1)


def _by_matmul(maps: jax.Array, points: jax.Array, height: int, width: int) -> jax.Array:
    x_weights, y_weights = _axis_weights(points[..., 0], width)[0], _axis_weights(points[..., 1], height)[0]
    weights = _cell_weights(x_weights, y_weights).astype(maps.dtype)  # (B, G, N, HW)
    return jnp.swapaxes(weights @ jnp.swapaxes(maps, 1, 2), 1, 2)


def _by_gather(maps: jax.Array, points: jax.Array, height: int, width: int) -> jax.Array:
    batch, _, groups, _ = maps.shape
    left, x_fraction = _corner(jnp.swapaxes(points[..., 0], 1, 2))  # (B, N, G)
    top, y_fraction = _corner(jnp.swapaxes(points[..., 1], 1, 2))
    rows, columns = jnp.arange(batch)[:, None, None], jnp.arange(groups)
    total = jnp.zeros((), maps.dtype)
    for dy, y_weight in ((0, 1 - y_fraction), (1, y_fraction)):
        for dx, x_weight in ((0, 1 - x_fraction), (1, x_fraction)):
            x, y = left + dx, top + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            cell = jnp.clip(y, 0, height - 1) * width + jnp.clip(x, 0, width - 1)
            weight = jnp.where(inside, x_weight * y_weight, 0.0).astype(maps.dtype)
            total += weight[..., None] * maps.at[rows, cell, columns].get(mode="promise_in_bounds")  # (B, N, G, C/G)
    return total


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _gather_matmul(maps: jax.Array, points: jax.Array, height: int, width: int) -> jax.Array:
    """Reads neighbours as `_by_gather` does, and has the gradients of `_by_matmul`, without scatter; for CPUs."""
    return _by_gather(maps, points, height, width)


def _gather_matmul_forward(maps, points, height, width):
    return _by_gather(maps, points, height, width), (maps, points)


def _gather_matmul_backward(height, width, residuals, cotangent):
    maps, points = residuals
    (x_weights, x_slopes), (y_weights, y_slopes) = (
        _axis_weights(points[..., axis], size) for axis, size in enumerate((width, height))
    )
    weights = _cell_weights(x_weights, y_weights).astype(maps.dtype)  # (B, G, N, HW)
    maps, cotangent = jnp.swapaxes(maps, 1, 2), jnp.swapaxes(cotangent, 1, 2)  # (B, G, HW or N, C / G)
    grad_maps = jnp.swapaxes(weights, 2, 3) @ cotangent
    grad_weights = (cotangent @ jnp.swapaxes(maps, 2, 3)).astype(jnp.float32)
    grad_weights = grad_weights.reshape(*points.shape[:3], height, width)
    along_x = jnp.sum((grad_weights * x_slopes[..., None, :]).sum(-1) * y_weights, -1)
    along_y = jnp.sum((grad_weights * x_weights[..., None, :]).sum(-1) * y_slopes, -1)
    return jnp.swapaxes(grad_maps, 1, 2), jnp.stack([along_x, along_y], -1)


_gather_matmul.defvjp(_gather_matmul_forward, _gather_matmul_backward)
