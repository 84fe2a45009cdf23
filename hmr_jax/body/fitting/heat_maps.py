"""Keypoints that are known as maps of where they may be, as networks predict them: one peak, several, or a ridge.

Shapes: B bodies, K keypoints, h and w size of the maps, P parameters of a step, see `pose`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.fitting.image_maps import check_maps, rays_to_cells, read_maps
from hmr_jax.body.fitting.points import Linearised, seen_by
from hmr_jax.body.fitting.solver import Equations
from hmr_jax.geometry.cameras import Array


class HeatMaps(NamedTuple):
    """Points are where their maps in one image are high. `in_heat_maps` makes it.

    The cost is the energy -2 log(p / its maximum) of each map, as if p were the density of the keypoint. Near a peak it
    is that of a keypoint in `Keypoints2D` with the place and the covariance of the peak, in value (up to a constant
    below the squared inverse of the peak's deviation in cells), gradient and Hessian. Far from all peaks it is
    constant: a keypoint there is free.

    The Hessian is Newton's without its negative part, and along the slope at least that of Gauss and Newton for the
    residual sqrt(energy); the two are equal where the energy is quadratic.
    """

    energy: Array
    """(B, K, h, w) -2 log p, 0 at the highest peak; the border is where the map ends."""
    weights: Array
    """(B, K) by what sqrt(energy), which is in standard deviations, is multiplied; 0: nothing is known."""
    scale: Array
    """(B, 2) from rays (x / z, y / z) to cells."""
    shift: Array
    """(B, 2) cells, added to it."""
    rotation: Array
    """(B, 3, 3) from the body's axes to the camera's."""
    translation: Array
    """(B, 3) metres, added after the rotation."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the energies."""
        rays, by_step = (array[:, 0] for array in seen_by(at, self.rotation[:, None], self.translation[:, None]))
        cells = rays * self.scale[:, None] + self.shift[:, None]
        value, slope, curvature = (array[:, :, 0] for array in read_maps(self.energy, cells[:, :, None]))
        jacobian = self.weights[..., None, None] * self.scale[:, None, :, None] * by_step  # (B, K, 2, P)
        turned = jnp.einsum("bkij,bkjp->bkip", _upward(value, slope, curvature) / 2, jacobian)
        return Equations(
            jnp.einsum("bkip,bkiq->bpq", jacobian, turned),
            jnp.einsum("bkip,bki->bp", jacobian, self.weights[..., None] * slope / 2),
            jnp.sum(self.weights**2 * value, 1),
        )


def in_heat_maps(
    maps: np.ndarray,
    box: np.ndarray,
    focal_length: np.ndarray,
    center: np.ndarray,
    weights: np.ndarray | float = 1.0,
    floor: float = 0.01,
) -> HeatMaps:
    """Maps of keypoints in one image of each body, by a camera without distortion.

    Args:
        maps: (B, K, h, w) not logarithms, of any scale; negative values count as 0. A map without mass is ignored.
        box: (B, 4) or (4,) left, top, right and bottom edge of the maps, px of the image.
        focal_length: (B, 2) or (2,) px.
        center: (B, 2) or (2,) principal point, px.
        weights: (B, K) or of all, by what standard deviations are divided: below 1 where peaks are narrower than the
            errors, 0 where a map is not to be used.
        floor: share of the highest peak that is background: where the map is far below it, it says nothing.

    Raises:
        ValueError: an array has another shape or is not finite, a box has no area, or the floor is not in (0, 1).
    """
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 4 or 0 in maps.shape[2:]:
        raise ValueError(f"Heat maps must be (B, K, height, width), not {maps.shape}.")
    boxes = check_maps(maps, box, "heat maps")
    if not 0 < floor < 1:
        raise ValueError(f"The floor of heat maps must be a share of the peak between 0 and 1, not {floor}.")
    count, _, height, width = maps.shape
    maps = np.maximum(maps, 0)
    peaks = maps.max((2, 3), keepdims=True)
    share = maps / np.where(peaks > 0, peaks, 1)
    energy = -2 * np.log((share + floor) / (1 + floor))
    background = -2 * np.log(floor / (1 + floor))
    energy = np.pad(energy, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=background)
    focal, center = (np.broadcast_to(np.asarray(array, np.float64), (count, 2)) for array in (focal_length, center))
    scale, shift = rays_to_cells(boxes, focal, center, height, width)
    used = np.broadcast_to(weights, maps.shape[:2]) * (peaks[..., 0, 0] > 0)
    eye = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
    return HeatMaps(energy, used.astype(np.float32), scale, shift + 1, eye, np.zeros((count, 3), np.float32))


def _upward(value: jax.Array, slope: jax.Array, curvature: jax.Array) -> jax.Array:
    """(..., 2, 2) second derivatives without negative ones, and never near 0 along the slope; see `HeatMaps`."""
    mean = (curvature[..., 0, 0] + curvature[..., 1, 1])[..., None, None] / 2
    rest = curvature - mean * jnp.eye(2)  # symmetric without trace: its square is spread^2 times the identity
    spread = jnp.sqrt(jnp.sum(rest**2, (-2, -1), keepdims=True) / 2)
    high, low = jnp.maximum(mean + spread, 0), jnp.maximum(mean - spread, 0)
    convex = (high + low) / 2 * jnp.eye(2) + (high - low) / 2 * rest / jnp.where(spread > 0, spread, 1)
    along = slope[..., :, None] * slope[..., None, :]
    squared = jnp.sum(slope**2, -1) + 1e-12
    has = jnp.einsum("...i,...ij,...j->...", slope, convex, slope) / squared**2
    lacks = jnp.maximum(1 / (2 * jnp.maximum(value, 1e-6)) - has, 0)  # of the half of energy: slope^2 / (4 energy)
    return convex + lacks[..., None, None] * along
