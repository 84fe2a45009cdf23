"""From a body in the camera of its crop to its translation in the camera of the image.

Shapes: B people.
"""

import jax
import jax.numpy as jnp

from hmr_jax.batch import Prediction
from hmr_jax.geometry import crop_translation, full_image_translation, project
from hmr_jax.geometry.cameras import NOMINAL_CROP, fit_translation

_OUTSIDE = 0.01
"""Weight of keypoints outside the crop, which the network guesses."""


def place(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
    crop_focal_length: float,
) -> jax.Array:
    """Translations (B, 3), metres, of bodies that project to where the network sees them in its crop.

    Args:
        prediction: of the network, turned back.
        box_center: (B, 2) of the square crop, px of the image.
        box_size: (B,) side of the square crop, px of the image.
        principal_point: (B, 2) px of the image.
        focal_length: (B, 2) px of the image.
        crop_focal_length: of the network's camera, px of a crop of `NOMINAL_CROP`.
    """
    keypoints, focal = prediction.keypoints_3d, jnp.full((1, 2), crop_focal_length / NOMINAL_CROP)
    in_crop = project(keypoints, crop_translation(prediction.camera, crop_focal_length), focal)
    in_image = box_center[:, None] + box_size[:, None, None] * in_crop
    seen = jnp.abs(in_crop).max(-1) < 0.5
    return fit_translation(keypoints, in_image, focal_length, principal_point, jnp.where(seen, 1.0, _OUTSIDE))


def place_as_hmr2(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
) -> jax.Array:
    """The same by HMR2.0's formula."""
    focal = focal_length.mean(1)
    translation = full_image_translation(prediction.camera, box_center, box_size, principal_point, focal)
    # If pixels are not square, this keeps the pelvis at its position in the image.
    return translation * jnp.ones_like(translation).at[:, :2].set(focal[:, None] / focal_length)
