"""From a body in the camera of its crop to its translation in the camera of the image.

Shapes: B people, N keypoints.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import Prediction
from hmr_jax.geometry import crop_translation, full_image_translation, project
from hmr_jax.geometry.cameras import NEAREST, NOMINAL_CROP, fit_translation
from hmr_jax.geometry.distortion import Lens, shown
from hmr_jax.geometry.intrinsics import ImageCamera, camera_of
from hmr_jax.inference.person import PersonPrediction

OUTSIDE = 0.01
"""Weight of keypoints outside the crop, which the network guesses."""


def place(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
    crop_focal_length: float,
) -> tuple[jax.Array, jax.Array]:
    """Translations of bodies that project, as nearly as can be, to where the network has them in its crop.

    Not quite, as the network looks through a very long lens, HMR2.0's: in the near camera of a photograph, what is
    nearer is larger.

    Args:
        prediction: of the network, turned back.
        box_center: (B, 2) of the square crop, px of the image.
        box_size: (B,) side of the square crop, px of the image.
        principal_point: (B, 2) px of the image.
        focal_length: (B, 2) px of the image.
        crop_focal_length: of the network's camera, px of a crop of `NOMINAL_CROP`.

    Returns:
        Translations (B, 3), metres, and where the crop has the keypoints, (B, N, 2) px of the image.
    """
    keypoints, focal = prediction.keypoints_3d, jnp.full((1, 2), crop_focal_length / NOMINAL_CROP)
    in_crop = project(keypoints, crop_translation(prediction.camera, crop_focal_length), focal)
    in_image = box_center[:, None] + box_size[:, None, None] * in_crop
    weights = jnp.where(jnp.abs(in_crop).max(-1) < 0.5, 1.0, OUTSIDE)
    return fit_translation(keypoints, in_image, focal_length, principal_point, weights), in_image


def through_lens(person: PersonPrediction) -> PersonPrediction:
    """A person placed as by `place`, in the camera of its lens: the keypoints are undistorted first.

    Where the lens shows none of the keypoints, the person stays as it is.
    """
    straight = person.image_camera.straightened(person.keypoints_image.astype(np.float64))
    inside = np.isfinite(straight).all(-1)
    in_crop = np.abs((person.keypoints_image - person.box_center) / person.box_size).max(-1) < 0.5
    if inside.sum() < 2:
        return person
    weights = np.where(in_crop, 1.0, OUTSIDE) * inside
    points = person.keypoints_3d.astype(np.float64)
    straight = np.where(inside[:, None], straight, 0.0)
    camera = person.focal_length.astype(np.float64), person.principal_point.astype(np.float64)
    translation = fit_translation(points[None], straight[None], *camera, weights[None])[0]
    return replace(person, translation=translation.astype(np.float32))


def bend(points: np.ndarray, lens: Lens | None) -> np.ndarray:
    """Points (..., 3) of the camera moved to where a pinhole shows them as the lens does: to draw over its images."""
    if lens is None:
        return points
    depth = np.maximum(points[..., 2:], NEAREST)
    return np.concatenate([shown(points[..., :2] / depth, lens) * depth, points[..., 2:]], -1).astype(points.dtype)


def placed_for_drawing(
    keypoints_3d: np.ndarray,
    keypoints_image: np.ndarray,
    translation: np.ndarray,
    camera: ImageCamera,
    image_size: tuple[int, int],
    crop_focal_length: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Translations (B, 3) and intrinsics (3, 3) with which bodies are drawn over their image.

    A network's bodies fit the image best through its own lens, so they are seen through it, unless the camera was
    given. Refined bodies fit it in the image's camera.

    Args:
        keypoints_3d: (B, N, 3) metres.
        keypoints_image: (B, N, 2) px.
        translation: (B, 3) metres, in the image's camera.
        camera: of the image.
        image_size: width and height, px.
        crop_focal_length: of the network's camera, px of a crop of `NOMINAL_CROP`; None for refined bodies.
    """
    focal, center = camera.focal_length, camera.principal_point
    if crop_focal_length is not None and camera.source in ("default", "exif", "people") and len(translation):
        focal, center = camera_of(image_size, None, crop_focal_length)
        translation = fit_translation(keypoints_3d, keypoints_image, focal, center)
    return translation, np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]], np.float64)


def place_as_hmr2(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The same by HMR2.0's formula; keypoints are where the bodies project."""
    focal = focal_length.mean(1)
    translation = full_image_translation(prediction.camera, box_center, box_size, principal_point, focal)
    # If pixels are not square, this keeps the pelvis at its position in the image.
    translation = translation * jnp.ones_like(translation).at[:, :2].set(focal[:, None] / focal_length)
    return translation, project(prediction.keypoints_3d, translation, focal_length, principal_point)
