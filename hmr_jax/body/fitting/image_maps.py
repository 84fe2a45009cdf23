"""Maps over a part of an image, read between their cells with derivatives.

Maps are read by cubic B-splines, not bilinearly: a bilinear map has its extrema at cells, and no curvature. The spline
keeps the slope and the curvature of quadratics exactly, adds a third of a cell's squared length times half their
curvature, and never leaves the range of the map.

Shapes: B bodies, G maps of a body, N points, h and w size of the maps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.geometry.cameras import Array

# Weights of the cells -1, 0, 1, 2 as polynomials of the fraction t: rows of cells, columns of 1, t, t^2, t^3.
_SPLINE = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]], np.float32) / 6


class Read(NamedTuple):
    """What maps hold at points."""

    value: jax.Array
    """(B, G, N)."""
    slope: jax.Array
    """(B, G, N, 2) by the point's x and y, per cell."""
    curvature: jax.Array
    """(B, G, N, 2, 2) second derivatives, per squared cell."""


def read_maps(maps: Array, points: jax.Array) -> Read:
    """Reads maps (B, G, h, w) at points (B, G, N, 2), x and y in cells; (0, 0) is the centre of the first cell.

    Outside, a map goes on as its border.
    """
    batch, groups, height, width = maps.shape
    sizes = jnp.array([width, height])
    points = jnp.clip(points, -2.0, sizes + 1.0)  # so far out, all four cells are the border's
    first = jnp.floor(points)
    fraction = points - first
    powers = jnp.stack([jnp.ones_like(fraction), fraction, fraction**2, fraction**3], -1)
    spline = jnp.asarray(_SPLINE)
    once, twice = (spline[:, n:] * factors for n, factors in ((1, jnp.arange(1.0, 4)), (2, jnp.array([2.0, 6]))))
    weights = (powers @ spline.T, powers[..., :3] @ once.T, powers[..., :2] @ twice.T)  # of derivatives 0, 1, 2
    cells = jnp.clip(first.astype(jnp.int32)[..., None] + jnp.arange(-1, 3), 0, sizes[:, None] - 1)  # (B, G, N, 2, 4)
    index = cells[..., 1, :, None] * width + cells[..., 0, None, :]  # (B, G, N, 4 rows, 4 columns)
    flat = jnp.asarray(maps).reshape(batch, groups, height * width)
    near = jnp.take_along_axis(flat, index.reshape(batch, groups, -1), -1).reshape(index.shape)
    base = near[..., 0, 0]
    near -= base[..., None, None]  # so that a constant map has derivatives of exactly 0

    def derivative(of_x: int, of_y: int) -> jax.Array:
        return jnp.einsum("bgnyx,bgny,bgnx->bgn", near, weights[of_y][..., 1, :], weights[of_x][..., 0, :])

    mixed = derivative(1, 1)
    rows = jnp.stack([derivative(2, 0), mixed], -1), jnp.stack([mixed, derivative(0, 2)], -1)
    return Read(base + derivative(0, 0), jnp.stack([derivative(1, 0), derivative(0, 1)], -1), jnp.stack(rows, -2))


def rays_to_cells(
    box: np.ndarray, focal_length: np.ndarray, center: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """How rays (x / z, y / z) become cells of maps: cells = rays * scale + shift.

    Args:
        box: (B, 4) left, top, right, bottom edge of the maps, px of the image.
        focal_length: (B, 2) px.
        center: (B, 2) principal point, px.
        height: h.
        width: w.

    Returns:
        scale (B, 2) and shift (B, 2), float32.
    """
    per_pixel = np.array([width, height]) / (box[:, 2:] - box[:, :2])
    shift = (center - box[:, :2]) * per_pixel - 0.5
    return (focal_length * per_pixel).astype(np.float32), shift.astype(np.float32)


def check_maps(maps: np.ndarray, box: np.ndarray, name: str) -> np.ndarray:
    """The boxes (B, 4) of maps (B, ..., h, w).

    Raises:
        ValueError: maps or boxes are not finite, boxes are of another shape or have no area.
    """
    count = len(maps)
    if not np.isfinite(maps).all():
        raise ValueError(f"{name} hold numbers that are not finite: set cells of which nothing is known to 0.")
    if np.shape(box) not in ((4,), (count, 4)):
        raise ValueError(f"The box of {name} must be (4,) or ({count}, 4): left, top, right, bottom, px of the image.")
    boxes = np.broadcast_to(np.asarray(box, np.float64), (count, 4))
    if not (boxes[:, 2:] > boxes[:, :2]).all() or not np.isfinite(boxes).all():
        raise ValueError(f"The box of {name} must have its left edge left of the right one, and the top above.")
    return boxes
