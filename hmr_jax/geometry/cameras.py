"""Pinhole cameras: x right, y down, z forward, metres; image points in the unit of the focal length.

Shapes: B batch, N points.
"""

import jax
import jax.numpy as jnp

NOMINAL_CROP = 256  # px: the side of the crop to which `ModelConfig.focal_length` refers
NEAREST = 0.1
"""Metres between the camera and the nearest point of a body that `fit_translation` places."""


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


def fit_translation(
    points: jax.Array,
    image_points: jax.Array,
    focal_length: jax.Array,
    principal_point: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Translation that projects points to given image points, by linear least squares as in SPIN (Kolotouros et al.).

    The equations X + tx = u (Z + tz) and Y + ty = v (Z + tz) of all points are linear in the translation. No point
    comes nearer to the camera than `NEAREST`.

    Args:
        points: (B, N, 3) metres, camera axes.
        image_points: (B, N, 2) px.
        focal_length: (B, 2) px.
        principal_point: (B, 2) px.
        weights: (B, N) of the points, positive; None: all are 1.

    Returns:
        (B, 3) metres.
    """
    shares = jnp.ones(points.shape[:2]) if weights is None else weights
    shares = (shares / shares.sum(1, keepdims=True))[..., None]
    rays = (image_points - principal_point[:, None]) / focal_length[:, None]
    offset = rays * points[..., 2:] - points[..., :2]  # of x and y, were the depth of the translation 0
    mean_ray, mean_offset = ((shares * array).sum(1) for array in (rays, offset))
    from_mean = rays - mean_ray[:, None]
    depth = -(shares * from_mean * offset).sum((1, 2)) / ((shares * jnp.square(from_mean)).sum((1, 2)) + 1e-12)
    depth = jnp.maximum(depth, NEAREST - points[..., 2].min(1))[:, None]
    return jnp.concatenate([mean_offset + mean_ray * depth, depth], -1)
