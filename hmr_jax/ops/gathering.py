"""Bilinear sampling by reading the four neighbours of each point.

Shapes: B batch, H and W size of the map, G groups of channels, c channels of a group, N points.
"""

import jax
import jax.numpy as jnp


def corner(coordinate: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Integer cell at or before a coordinate, and the distance from it."""
    lower = jnp.floor(coordinate)
    return lower.astype(jnp.int32), coordinate - jax.lax.stop_gradient(lower)


def by_gather(maps: jax.Array, points: jax.Array, height: int, width: int) -> jax.Array:
    """(B, H W, G, c) features and (B, G, N, 2) points in pixels -> (B, N, G, c); zero padding."""
    batch, _, groups, _ = maps.shape
    left, x_fraction = corner(jnp.swapaxes(points[..., 0], 1, 2))  # (B, N, G)
    top, y_fraction = corner(jnp.swapaxes(points[..., 1], 1, 2))
    rows, columns = jnp.arange(batch)[:, None, None], jnp.arange(groups)
    total = jnp.zeros((), maps.dtype)
    for dy, y_weight in ((0, 1 - y_fraction), (1, y_fraction)):
        for dx, x_weight in ((0, 1 - x_fraction), (1, x_fraction)):
            x, y = left + dx, top + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            cell = jnp.clip(y, 0, height - 1) * width + jnp.clip(x, 0, width - 1)
            weight = jnp.where(inside, x_weight * y_weight, 0.0).astype(maps.dtype)
            total += weight[..., None] * maps.at[rows, cell, columns].get(mode="promise_in_bounds")  # (B, N, G, c)
    return total
