"""The encoder's landmarks in the image, and which of the 44 keypoints they are.

Shapes: B people, M = 33 landmarks.
"""

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.geometry.upright import rotation_z

BODY_LANDMARKS = 33
"""Of BlazePose's, those that are points of the body."""
_SIDES = {
    "eye": 2, "ear": 7, "shoulder": 11, "elbow": 13, "wrist": 15, "hip": 23, "knee": 25, "ankle": 27, "heel": 29,
    "big_toe": 31,
}  # fmt: skip
_RIGHT = {"eye": 5}  # elsewhere the number after the left one's
LANDMARK_OF = {KEYPOINTS_44.index("openpose_nose"): 0} | {
    KEYPOINTS_44.index(f"openpose_{side}_{part}"): left if side == "left" else _RIGHT.get(part, left + 1)
    for part, left in _SIDES.items()
    for side in ("left", "right")
}
"""Number of a keypoint -> of the landmark at the same point of the body."""


def landmarks_in_image(
    found: np.ndarray, box_center: np.ndarray, box_size: np.ndarray, box_turn: np.ndarray
) -> np.ndarray:
    """From crops to the image.

    Args:
        found: (B, M or more, 4 or more) of `models.pyramid.Encoded`, in coordinates of turned crops.
        box_center: (B, 2) px.
        box_size: (B,) px.
        box_turn: (B,) degrees clockwise.

    Returns:
        (B, M, 3) x and y in px of the image, and the probability that the point is visible; 0 outside of the crop.
    """
    found = np.asarray(found[:, :BODY_LANDMARKS], np.float64)
    turns = rotation_z(np.asarray(box_turn))[:, :2, :2]
    points = np.einsum("bij,bmj->bmi", turns, found[..., :2]) * np.reshape(box_size, (-1, 1, 1))
    inside = np.abs(found[..., :2]).max(-1) < 0.5
    visible = np.where(inside, np.clip(found[..., 3] + 0.5, 0, 1), 0)
    return np.concatenate([points + box_center[:, None], visible[..., None]], -1).astype(np.float32)
