"""What is known of a person over the frames of a track, before and after smoothing.

Shapes: F frames, K the 44 keypoints.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry.cameras import NEAREST, fit_translation
from hmr_jax.geometry.distortion import Lens
from hmr_jax.geometry.intrinsics import ImageCamera
from hmr_jax.video import smoothing
from hmr_jax.video.posing import Posing, mean_shape

_MARGIN = 0.1  # of the box's sides
_FEWEST_SEEN = 8  # keypoints
_NOWHERE = 1e-3  # weight of keypoints where the lens shows nothing
_DEPTH = 2.0  # times the width of other values: the distance from the camera is the least certain
# The keypoint that says most about a joint's rotation: the next one on the limb.
_SHOWN_BY = {
    "hip": "knee", "knee": "ankle", "ankle": "big_toe", "foot": "big_toe", "shoulder": "elbow", "elbow": "wrist",
    "wrist": "wrist", "hand": "wrist", "collar": "shoulder",
}  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """A person's parameters over time, in the camera: OpenCV's axes, metres, pixels."""

    frames: np.ndarray
    """(F,) frame numbers, ascending without a gap."""
    times: np.ndarray
    """(F,) seconds."""
    boxes: np.ndarray
    """(F, 4) left, top, right, bottom, px."""
    predicted: np.ndarray
    """(F,) whether the network saw the person in this frame; elsewhere the values are interpolated."""
    rotations: np.ndarray
    """(F, 24, 3) axis times angle of each joint relative to its parent; the first is the global orientation."""
    betas: np.ndarray
    """(F, 10)."""
    translation: np.ndarray
    """(F, 3) metres."""
    joints: np.ndarray
    """(F, 24, 3) metres, without translation."""
    keypoints_3d: np.ndarray
    """(F, 44, 3) metres, without translation."""
    keypoints_image: np.ndarray
    """(F, 44, 2) px."""
    focal_length: np.ndarray
    """(2,) px."""
    principal_point: np.ndarray
    """(2,) px."""
    sigma: np.ndarray | None = None
    """(F, 44) expected error of each keypoint, metres."""
    seen: np.ndarray | None = None
    """(F, 44, 3) what the motion can be refined by: x and y of keypoints in px, and their standard deviation, px,
    infinite where one is not seen. None: nothing."""
    moved: np.ndarray | None = None
    """(F,) metres by which refinement moved the joints on average, the pelvis at the origin. None: not refined."""
    camera_source: str = "default"
    """Where the focal length is from, see `PersonPrediction`."""
    lens: Lens | None = None
    """How the camera distorts; what is in px is in the distorted frames. None: not at all."""

    @property
    def camera(self) -> ImageCamera:
        """Of the video."""
        source: Any = self.camera_source
        return ImageCamera(self.focal_length, self.principal_point, source, self.lens)


def filled(motion: Motion, posing: Posing) -> Motion:
    """The motion with values between predictions interpolated: rotations on SO(3), other values in time."""
    if motion.predicted.all():
        return motion
    known, times = motion.predicted, motion.times
    quaternions = smoothing.fill_rotations(_quaternions(motion.rotations), times, known)
    betas, translation = (smoothing.fill(array, times, known) for array in (motion.betas, motion.translation))
    sigma = None if motion.sigma is None else smoothing.fill(motion.sigma, times, known)
    made = replace(motion, rotations=smoothing.log(quaternions), betas=betas, translation=translation, sigma=sigma)
    posed = posed_again(made, posing)

    def kept(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.where(known.reshape(-1, *(1,) * (old.ndim - 1)), old, new)

    return replace(
        made,
        joints=kept(motion.joints, posed.joints),
        keypoints_3d=kept(motion.keypoints_3d, posed.keypoints_3d),
        keypoints_image=smoothing.fill(motion.keypoints_image, times, known),
    )


def smoothed(motion: Motion, posing: Posing, seconds: float = smoothing.HALF_WIDTH) -> Motion:
    """The motion smoothed, with one shape.

    Rotations are smoothed on SO(3), keypoints in the image on it. The betas are the mean over the predicted frames,
    weighted by 1 / sigma^2. The bodies are posed again and placed where their keypoints are in the image.

    Args:
        motion: without gaps, see `filled`.
        posing: of the same body.
        seconds: on each side of a frame that smoothing takes into account.
    """
    times, known = motion.times, motion.predicted
    width = smoothing.half_width(times, seconds)
    points = smoothing.trust(motion.sigma, known, len(KEYPOINTS_44))
    joint_sigma, doubt = None, np.ones(len(SMPL_24))
    if motion.sigma is not None:
        joint_sigma = motion.sigma @ _JOINTS_FROM_KEYPOINTS.T
        usual = np.median(joint_sigma[known], 0)
        doubt = np.clip(np.sqrt(usual / 0.04), 0.75, 1.5)
    quaternions = smoothing.smooth_rotations(
        _quaternions(motion.rotations), times, width * doubt, smoothing.trust(joint_sigma, known, len(SMPL_24))
    )
    sure = known.astype(float)
    if motion.sigma is not None:
        sure = sure / np.maximum(motion.sigma.mean(1), 1e-3) ** 2
    betas = np.tile(mean_shape(motion.betas, sure), (len(times), 1))
    pixels = smoothing.smooth_points(motion.keypoints_image, times, 0.75 * width, points)
    rotations = smoothing.log(quaternions).astype(np.float32)
    made = posed_again(replace(motion, rotations=rotations, betas=betas.astype(np.float32)), posing)
    sizes = np.ones(points.shape) if motion.sigma is None else 1 / np.maximum(motion.sigma, 0.01) ** 2
    straight = motion.camera.straightened(pixels)
    shown = np.isfinite(straight).all(-1)
    straight = np.where(shown[..., None], straight, pixels)
    sizes = sizes * _seen(pixels, motion.boxes) * np.where(shown, 1.0, _NOWHERE)
    camera = motion.focal_length, motion.principal_point
    points_3d = made.keypoints_3d.astype(np.float64)
    nearest = NEAREST - points_3d[..., 2].min(1)
    free = np.maximum(fit_translation(points_3d, straight, *camera, sizes)[:, 2], NEAREST)
    sure = np.where(known, 1.0, 0.05)
    depth = np.exp(smoothing.smooth_values(np.log(free)[:, None], times, _DEPTH * width, sure))[:, 0]
    depth = np.maximum(depth, nearest)
    translation = fit_translation(points_3d, straight, *camera, sizes, depth)
    return replace(made, translation=translation.astype(np.float32), keypoints_image=pixels.astype(np.float32))


def _seen(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(F, 44) 1 for keypoints in or near the box (F, 4), 0 for others, which the network guesses; all 1 if few are."""
    low, high, margin = boxes[:, None, :2], boxes[:, None, 2:], _MARGIN * (boxes[:, None, 2:] - boxes[:, None, :2])
    inside = ((pixels > low - margin) & (pixels < high + margin)).all(-1)
    return np.where(inside.sum(1, keepdims=True) < _FEWEST_SEEN, 1.0, inside)


def posed_again(motion: Motion, posing: Posing) -> Motion:
    """The motion with joints and keypoints of its rotations, betas and translation."""
    points = posing.points(motion.betas, motion.rotations)
    pixels = motion.camera.project(points.keypoints + motion.translation[:, None])
    return replace(motion, joints=points.joints, keypoints_3d=points.keypoints, keypoints_image=pixels)


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    return smoothing.exp(np.asarray(rotations, np.float64))


def _joints_from_keypoints() -> np.ndarray:
    """(24, 44) map from expected errors of keypoints to those that a joint's rotation shows in."""
    matrix = np.zeros((len(SMPL_24), len(KEYPOINTS_44)))
    for row, joint in enumerate(SMPL_24):
        side, _, part = joint.partition("_")
        name = f"openpose_{side}_{_SHOWN_BY.get(part, '')}"
        if name in KEYPOINTS_44:
            matrix[row, KEYPOINTS_44.index(name)] = 1
        else:
            matrix[row] = 1 / len(KEYPOINTS_44)
    return matrix


_JOINTS_FROM_KEYPOINTS = _joints_from_keypoints()
