"""Pinhole cameras: x right, y down, z forward, metres; image points in the unit of the focal length.

Shapes: B batch, N points.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

NOMINAL_CROP = 256  # px: the side of the crop to which `ModelConfig.focal_length` refers


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

    Raises:
        ValueError: if the intrinsics are not (3, 3) or fx, fy, cx, cy, finite, with positive focal lengths.
    """
    if intrinsics is None:
        focal = crop_focal_length / NOMINAL_CROP * max(image_size)
        return np.full(2, focal, np.float32), np.array(image_size, np.float32) / 2
    matrix = np.asarray(intrinsics, np.float32)
    if matrix.shape == (3, 3):
        matrix = matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
    if matrix.shape != (4,) or not np.isfinite(matrix).all() or (matrix[:2] <= 0).any():
        raise ValueError(
            f"Intrinsics {np.asarray(intrinsics).tolist()}: give fx, fy, cx, cy in pixels or a 3x3 matrix."
        )
    return matrix[:2], matrix[2:]
