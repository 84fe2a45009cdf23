"""Bodies that fill their masks: no skin outside of a mask, and its outline is reached.

Shapes: B bodies, M points of the skin, N points of an outline, h and w size of the masks, P parameters of a step, see
`pose`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from hmr_jax.body.fitting.image_maps import check_maps, rays_to_cells, read_maps
from hmr_jax.body.fitting.points import Linearised, Points, seen_by, skin_points
from hmr_jax.body.fitting.solver import Equations, robust_squares
from hmr_jax.body.model import BodyModel
from hmr_jax.geometry.cameras import Array
from hmr_jax.geometry.farthest_points import farthest_points

SURFACE = 1000
"""Points of the skin: on limbs a few centimetres apart."""
OUTLINE = 200
"""Points of an outline."""
_ALONG = 3.0  # a point of the skin this many px along the outline counts as near as one 1 px across it


class Silhouettes(NamedTuple):
    """Bodies are where their masks in one image are, and nowhere else. `in_mask` makes it.

    Points of the skin have the distance from the mask as residual, 0 inside. Points of the outline have the distance
    across it to a near point of the skin; which one is chosen anew in each step. Where the body covers the outline
    this is near 0, so it does not pull the body in.
    """

    distance: Array
    """(B, h, w) px from the outline, negative inside; beyond its border the map goes on as there."""
    outline: Array
    """(B, N, 2) px from the centre of the first cell."""
    normals: Array
    """(B, N, 2) unit vectors out of the mask."""
    weights: Array
    """(B, N) 1 over the standard deviation of a point of the outline, 1 / px; 0: it does not count."""
    inside: Array
    """(B,) 1 over the standard deviation of the distance of a point of the skin, 1 / px."""
    scale: Array
    """(B, 2) px from rays (x / z, y / z) to px."""
    shift: Array
    """(B, 2) px, added to it: from the centre of the first cell."""
    cell: Array
    """(B, 2) px, width and height."""
    rotation: Array
    """(B, 3, 3) from the body's axes to the camera's."""
    translation: Array
    """(B, 3) metres, added after the rotation."""
    robust: Array = 8.0
    """Standard deviations from which on a point no longer matters."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the distances; raises ValueError if `at` has no skin."""
        if at.surface is None:
            raise ValueError("Fit silhouettes by KeypointFitter: no other fitter has points of the skin.")
        seen = seen_by(at.surface, self.rotation[:, None], self.translation[:, None])
        rays, by_step = (array[:, 0] for array in seen)
        pixels = rays * self.scale[:, None] + self.shift[:, None]  # (B, M, 2)
        jacobian = self.scale[:, None, :, None] * by_step  # (B, M, 2, P)
        return self._inside(pixels, jacobian) + self._covered(pixels, jacobian)

    def _inside(self, pixels: jax.Array, jacobian: jax.Array) -> Equations:
        read = read_maps(self.distance[:, None], (pixels / self.cell[:, None])[:, None])
        beyond = self.inside[:, None] * jnp.maximum(read.value[:, 0], 0)
        slope = jnp.where(beyond > 0, self.inside[:, None], 0)[..., None] * read.slope[:, 0] / self.cell[:, None]
        return robust_squares(beyond[..., None], jnp.einsum("bmi,bmip->bmp", slope, jacobian)[:, :, None], self.robust)

    def _covered(self, pixels: jax.Array, jacobian: jax.Array) -> Equations:
        chosen = nearest_across(pixels, self.outline, self.normals)[..., None]
        away = jnp.take_along_axis(pixels, chosen, 1) - self.outline
        across = self.weights[..., None] * self.normals
        by_step = jnp.einsum("bni,bnip->bnp", across, jnp.take_along_axis(jacobian, chosen[..., None], 1))
        return robust_squares(jnp.sum(across * away, -1, keepdims=True), by_step[:, :, None], self.robust)


def nearest_across(pixels: jax.Array, outline: Array, normals: Array) -> jax.Array:
    """(B, N) which of the points (B, M, 2) is nearest to each of an outline; ways along it count less."""
    x, y = (pixels[:, None, :, axis] - outline[:, :, None, axis] for axis in (0, 1))
    across = normals[..., :1] * x + normals[..., 1:] * y
    along = normals[..., :1] * y - normals[..., 1:] * x
    return jnp.argmin(across**2 + (along / _ALONG) ** 2, -1)


def surface_points(model: BodyModel) -> Points:
    """`SURFACE` points of a body's skin, spread evenly."""
    template = np.asarray(model.v_template)
    ids = farthest_points(template, min(SURFACE, len(template)), first=0)
    return skin_points(model, ids, with_joints=False)


def in_mask(
    masks: np.ndarray,
    box: np.ndarray,
    sigma: np.ndarray | float,
    focal_length: np.ndarray,
    center: np.ndarray,
    robust: float = 8.0,
) -> Silhouettes:
    """Masks of one image of each body, by a camera without distortion.

    Where a mask meets its own border, the body may go on beyond. The whole person has to be in the mask: leave out
    people who are half hidden behind something, or raise `sigma`.

    Args:
        masks: (B, h, w) bool, or probabilities, of which those above 0.5 are the body.
        box: (B, 4) or (4,) left, top, right and bottom edge of the masks, px of the image.
        sigma: (B,) or of all, px of the image, one standard deviation of the outline.
        focal_length: (B, 2) or (2,) px.
        center: (B, 2) or (2,) principal point, px.
        robust: standard deviations from which on a part of the outline or of the skin is taken for a mistake.

    Raises:
        ValueError: an array has another shape or is not finite, a mask is empty, a box has no area, or a sigma is not
            positive.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(f"Masks must be (B, height, width), not {masks.shape}.")
    boxes = check_maps(masks, box, "masks")
    count, height, width = masks.shape
    full = masks > 0.5
    empty = np.flatnonzero(~full.any((1, 2)))
    if len(empty):
        raise ValueError(f"Mask {empty[0]} is empty, and {len(empty)} of {count} are: leave these bodies out.")
    sigmas = np.broadcast_to(np.asarray(sigma, np.float64), (count,))
    if not (sigmas > 0).all():
        raise ValueError("The sigma of masks must be positive px.")
    inside = 1 / sigmas
    cell = (boxes[:, 2:] - boxes[:, :2]) / [width, height]
    parts = [_outline(mask, size) for mask, size in zip(full, cell, strict=True)]
    distance, outline, normals, share = (np.stack(part) for part in zip(*parts, strict=True))
    focal, center = (np.broadcast_to(np.asarray(array, np.float64), (count, 2)) for array in (focal_length, center))
    scale, shift = rays_to_cells(boxes, focal, center, height, width)
    eye = np.broadcast_to(np.eye(3), (count, 3, 3))
    arrays = (
        distance, outline, normals, np.outer(np.sqrt(share) * inside, np.ones(OUTLINE)), inside,
        scale * cell, shift * cell, cell, eye, np.zeros((count, 3)), np.full(count, robust),
    )  # fmt: skip
    return Silhouettes(*(np.asarray(array, np.float32) for array in arrays))


def _outline(mask: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The signed distance, px, points of the outline, their normals, and how much each of them counts."""
    sides = cell[::-1]
    if mask.all():
        return np.full(mask.shape, -cell.sum()), np.zeros((OUTLINE, 2)), np.zeros((OUTLINE, 2)), 0.0
    # Distances are from centres of cells: the outline is half a cell before the nearest one of the other side.
    half = sides.mean() / 2
    distance = np.where(mask, half - distance_transform_edt(mask, sides), distance_transform_edt(~mask, sides) - half)
    distance = gaussian_filter(distance, 1.0, mode="nearest")  # over the steps of cells
    rows, columns = np.nonzero(mask & ~binary_erosion(mask, border_value=1))
    chosen = np.arange(OUTLINE) * len(rows) // OUTLINE
    rows, columns = rows[chosen], columns[chosen]
    slope = np.stack([side[rows, columns] for side in np.gradient(distance, *sides)[::-1]], -1)
    length = np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-6)
    normals = slope / length
    points = np.stack([columns, rows], -1) * cell - normals * distance[rows, columns, None] / np.maximum(length, 0.5)
    return distance, points, normals, min(1.0, len(np.unique(chosen)) / OUTLINE)
