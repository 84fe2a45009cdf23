"""A person who stands before a camera with bent knees, as a motion."""

import numpy as np

from hmr_jax.body.joints import SMPL_24
from hmr_jax.video.motion import Motion, posed_again
from hmr_jax.video.posing import Posing

FRAMES, RATE = 60, 30


def standing_person(posing: Posing, bend: float = 0.4) -> Motion:
    """Three metres away from a level camera; the hips bend by some radians, the knees by twice as much."""
    rotations = np.zeros((FRAMES, 24, 3), np.float32)
    rotations[:, 0, 0] = np.pi
    for side in ("left", "right"):
        for part, angle in (("hip", -bend), ("knee", 2 * bend), ("ankle", -bend)):
            rotations[:, SMPL_24.index(f"{side}_{part}"), 0] = angle
    motion = Motion(
        frames=np.arange(FRAMES), times=np.arange(FRAMES) / RATE, boxes=np.tile([[0.0, 0, 9, 9]], (FRAMES, 1)),
        predicted=np.ones(FRAMES, bool), rotations=rotations, betas=np.zeros((FRAMES, 10), np.float32),
        translation=np.tile(np.float32([0, 0, 3]), (FRAMES, 1)), joints=np.zeros((FRAMES, 24, 3)),
        keypoints_3d=np.zeros((FRAMES, 44, 3)), keypoints_image=np.zeros((FRAMES, 44, 2)),
        focal_length=np.array([500.0, 500]), principal_point=np.array([320.0, 240]),
    )  # fmt: skip
    return posed_again(motion, posing)
