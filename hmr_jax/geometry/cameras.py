"""Pinhole cameras: x right, y down, z forward, metres; image points in the unit of the focal length.

Shapes: B batch, N points.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NOMINAL_CROP = 256  # px: the side of the crop to which `ModelConfig.focal_length` refers
FOCAL_RANGE = (0.1, 1000.0)
"""Focal lengths in longer sides of the image; outside are numbers in another unit."""
# What no camera has, but numbers in another unit or order do, in longer sides of the image or as a ratio.
_FARTHEST_CENTER = 10.0
_LARGEST_ASPECT = 2.0
_LARGEST_SKEW = 1e-3


def project(
    points: jax.Array, translation: jax.Array, focal_length: jax.Array, center: jax.Array | None = None
) -> jax.Array:
    """Perspective projection.

    Args:
        points: (B, N, 3) metres, camera axes.
        translation: (B, 3) metres, added to the points.
        focal_length: (B, 2) along x and y.
        center: (B, 2) principal point, or None for the origin.

    Returns:
        (B, N, 2) image points.
    """
    points = points + translation[:, None]
    image = points[..., :2] / points[..., 2:] * focal_length[:, None]
    return image if center is None else image + center[:, None]


def crop_translation(camera: jax.Array, focal_length: float) -> jax.Array:
    """Translation of the body in the crop's virtual camera, from the weak-perspective camera (HMR2.0).

    Args:
        camera: (B, 3) scale s and shift tx, ty.
        focal_length: in pixels of a crop of `NOMINAL_CROP`.

    Returns:
        (B, 3) metres.
    """
    scale, x, y = jnp.moveaxis(camera, -1, 0)
    return jnp.stack([x, y, 2 * focal_length / (NOMINAL_CROP * scale + 1e-9)], -1)


def full_image_translation(
    camera: jax.Array, box_center: jax.Array, box_size: jax.Array, principal_point: jax.Array, focal_length: jax.Array
) -> jax.Array:
    """Translation of the body in the camera of the whole image (HMR2.0's formula, for any intrinsics).

    Args:
        camera: (B, 3) scale s and shift tx, ty of the crop.
        box_center: (B, 2) centre of the square crop, px of the image.
        box_size: (B,) side of the square crop, px of the image.
        principal_point: (B, 2) px of the image.
        focal_length: (B,) px of the image.

    Returns:
        (B, 3) metres.
    """
    size = camera[:, 0] * box_size + 1e-9
    shift = camera[:, 1:] + 2 * (box_center - principal_point) / size[:, None]
    return jnp.concatenate([shift, (2 * focal_length / size)[:, None]], -1)


def camera_of(
    image_size: tuple[int, int], intrinsics: Sequence | np.ndarray | None, crop_focal_length: float
) -> tuple[np.ndarray, np.ndarray]:
    """Focal length (2,) and principal point (2,), px, from intrinsics, or HMR2.0's for an image of (width, height).

    Args:
        image_size: width and height, px.
        intrinsics: (3, 3) or fx, fy, cx, cy in px of this image; one leading axis of length 1 is ignored.
        crop_focal_length: of the default, in px of a crop of `NOMINAL_CROP`.

    Raises:
        ValueError: if the intrinsics have another shape or are of no camera that took this image: transposed, with
            skew, normalised by the image's size, or not finite.
    """
    longer = max(image_size)
    if intrinsics is None:
        return np.full(2, crop_focal_length / NOMINAL_CROP * longer, np.float32), np.array(image_size, np.float32) / 2
    try:
        values = np.asarray(intrinsics, np.float64)
    except (TypeError, ValueError):
        raise _refused(intrinsics, "they are no numbers") from None
    if values.shape in ((1, 3, 3), (1, 4)):
        values = values[0]
    if values.shape == (3, 3):
        values = _four_of_matrix(values)
    if values.shape != (4,):
        raise _refused(values, f"they have shape {values.shape}")
    focal, center = values[:2], values[2:]
    width, height = image_size
    if not np.isfinite(values).all() or (focal <= 0).any():
        raise _refused(values, "focal lengths must be positive, and all numbers finite")
    if focal.min() < FOCAL_RANGE[0] * longer or ((center > 0).all() and (center <= 1).all() and longer > 2):
        raise _refused(values, f"for an image of {width}x{height} they are too small for pixels")
    if focal.max() > FOCAL_RANGE[1] * longer or np.abs(center).max() > _FARTHEST_CENTER * longer:
        raise _refused(values, f"for an image of {width}x{height} they are too large for pixels")
    if focal.max() > _LARGEST_ASPECT * focal.min():
        raise _refused(values, "the focal lengths along x and y are too different")
    return focal.astype(np.float32), center.astype(np.float32)


def intrinsics_of_each(intrinsics: Any, count: int) -> list:
    """What `camera_of` takes of each of some images, from intrinsics of all, (3, 3) or (4,), or of each.

    Args:
        intrinsics: also (count, 3, 3), (count, 4), or a list of what `camera_of` takes; None: there are none.
        count: number of images.

    Raises:
        ValueError: they are of another number of images.
    """
    several = list(intrinsics) if np.iterable(intrinsics) and not isinstance(intrinsics, str) else []
    if not several or not all(map(_is_of_one, several)):
        return [intrinsics] * count
    if len(several) not in (1, count):
        raise ValueError(f"{count} images but intrinsics of {len(several)}: give one for all, or one per image.")
    return several if len(several) == count else several * count


def _is_of_one(intrinsics: Any) -> bool:
    """Whether they are a whole camera, and no row of a matrix, if they stand in a list."""
    if intrinsics is None:
        return True
    try:
        values = np.asarray(intrinsics)
    except ValueError:
        return False
    return values.shape == (3, 3) or (values.shape == (4,) and values[0] != 0)  # [K | 0] has rows of four, too


def _four_of_matrix(matrix: np.ndarray) -> np.ndarray:
    """(3, 3) -> fx, fy, cx, cy."""
    if (matrix[2] != (0, 0, 1)).any() and (matrix[:, 2] == (0, 0, 1)).all():
        raise _refused(matrix, "the matrix is transposed")
    if (matrix[2] != (0, 0, 1)).any() or matrix[1, 0] != 0:
        raise _refused(matrix, "the matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    if not abs(matrix[0, 1]) <= _LARGEST_SKEW * abs(matrix[0, 0]):
        raise _refused(matrix, f"the matrix has a skew of {matrix[0, 1]:g}: undistort the image, or set it to 0")
    return matrix[[0, 1, 0, 1], [0, 1, 2, 2]]


def _refused(intrinsics: Any, reason: str) -> ValueError:
    given = f"{intrinsics.tolist() if isinstance(intrinsics, np.ndarray) else intrinsics}"
    shown = given if len(given) < 100 else f"{given[:96]} ..."
    return ValueError(f"Intrinsics {shown}: {reason}; give fx, fy, cx, cy in pixels of the image, or a 3x3 matrix.")
