"""Pinhole cameras: x right, y down, z forward, metres; image points in the unit of the focal length.

Shapes: B batch, N points.
"""

from typing import Any

import jax
import jax.numpy as jnp

Array = Any  # of JAX or NumPy
NOMINAL_CROP = 256  # px: the side of the crop to which `ModelConfig.focal_length` refers
NEAREST = 0.1
"""Metres between the camera and the nearest point of a body that `fit_translation` places."""


def project(points: Array, translation: Array, focal_length: Array, center: Array | None = None) -> Array:
    """Perspective projection, of arrays of JAX or NumPy.

    Args:
        points: (B, N, 3) metres, camera axes.
        translation: (B, 3) metres, added to the points.
        focal_length: (B, 2) along x and y, or (2,).
        center: (B, 2) or (2,) principal point, or None for the origin.

    Returns:
        (B, N, 2) image points.
    """
    points = points + translation[:, None]
    image = points[..., :2] / points[..., 2:] * focal_length[..., None, :]
    return image if center is None else image + center[..., None, :]


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


def fit_translation(
    points: Array,
    image_points: Array,
    focal_length: Array,
    principal_point: Array,
    weights: Array | None = None,
    depth: Array | None = None,
) -> Array:
    """Translation that projects points to given image points, by linear least squares as in SPIN (Kolotouros et al.).

    The equations X + tx = u (Z + tz) and Y + ty = v (Z + tz) of all points are linear in the translation. Where the
    depth is solved for, no point comes nearer to the camera than `NEAREST`. NumPy's arrays are computed by NumPy in
    their own precision.

    Args:
        points: (B, N, 3) metres, camera axes.
        image_points: (B, N, 2) px.
        focal_length: (B, 2) or (2,) px.
        principal_point: (B, 2) or (2,) px.
        weights: (B, N) of the points, at least 0; None: all are 1.
        depth: (B,) known z of the translation, metres; None: it is solved for.

    Returns:
        (B, 3) metres.
    """
    xp = points.__array_namespace__()
    shares = xp.ones(points.shape[:2]) if weights is None else weights
    shares = (shares / shares.sum(1, keepdims=True))[..., None]
    rays = (image_points - principal_point[..., None, :]) / focal_length[..., None, :]
    offset = rays * points[..., 2:] - points[..., :2]  # of x and y, were the depth of the translation 0
    mean_ray, mean_offset = ((shares * array).sum(1) for array in (rays, offset))
    if depth is None:
        from_mean = rays - mean_ray[:, None]
        spread = xp.maximum((shares * from_mean**2).sum((1, 2)), 1e-12)
        depth = -(shares * from_mean * offset).sum((1, 2)) / spread
        depth = xp.maximum(depth, NEAREST - points[..., 2].min(1))
    return xp.concat([mean_offset + mean_ray * depth[:, None], depth[:, None]], axis=-1)
