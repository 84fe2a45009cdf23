"""How far a predicted body is from the landmarks that the encoder found: what a second round of the decoder sees.

Iterative error feedback (Carreira et al. 2016) with landmarks in place of the image.

Shapes: B batch, M landmarks of BlazePose, K of them that have a keypoint.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import Prediction
from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.models.backbones.blazepose import HIPS

KEYPOINT_OF_LANDMARK = {
    0: "nose", 2: "left_eye", 5: "right_eye", 7: "left_ear", 8: "right_ear", 11: "left_shoulder", 12: "right_shoulder",
    13: "left_elbow", 14: "right_elbow", 15: "left_wrist", 16: "right_wrist", 23: "left_hip", 24: "right_hip",
    25: "left_knee", 26: "right_knee", 27: "left_ankle", 28: "right_ankle", 29: "left_heel", 30: "right_heel",
    31: "left_big_toe", 32: "right_big_toe",
}  # fmt: skip
"""BlazePose's number -> OpenPose's name."""
_LANDMARKS = np.array(list(KEYPOINT_OF_LANDMARK))
_KEYPOINTS = np.array([KEYPOINTS_44.index(f"openpose_{name}") for name in KEYPOINT_OF_LANDMARK.values()])
_HIP_KEYPOINTS = np.array([KEYPOINTS_44.index(f"openpose_{KEYPOINT_OF_LANDMARK[number]}") for number in HIPS])
UNIT = 0.25
"""Crop sides and metres: about the size of early differences, so that the numbers are of order 1."""


def differences(landmarks: jax.Array, prediction: Prediction) -> jax.Array:
    """(B, M, 8) landmarks, see `pyramid.Encoded` -> (B, M, 5) from keypoints to landmarks, in `UNIT`.

    The first two are in the crop; the others in space, with the origin between the hips. Landmarks without a keypoint
    have zeros.
    """
    points = prediction.keypoints_3d
    points = points - points[:, _HIP_KEYPOINTS].mean(1, keepdims=True)
    found = jnp.concatenate(
        [
            landmarks[:, _LANDMARKS, :2] - prediction.keypoints_2d[:, _KEYPOINTS],
            landmarks[:, _LANDMARKS, 5:] - points[:, _KEYPOINTS],
        ],
        -1,
    )
    return jnp.zeros((*landmarks.shape[:2], 5)).at[:, _LANDMARKS].set(found / UNIT)
