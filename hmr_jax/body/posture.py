"""Whether people stand upright, by their joints.

Shapes: `...` any axes.
"""

import numpy as np

from hmr_jax.body.joints import SMPL_24

IN_LINE = 25.0
"""Degrees between trunk and legs, and between thigh and shank: people who are bent more are not upright."""


def is_upright(joints: np.ndarray) -> np.ndarray:
    """Whether trunk, thighs and shanks are in line.

    Args:
        joints: (..., 24, 3) of `SMPL_24`, metres.

    Returns:
        (...) bool.
    """
    of = dict(zip(SMPL_24, np.moveaxis(np.asarray(joints, np.float64), -2, 0), strict=True))
    hips, ankles = (of[f"left_{part}"] / 2 + of[f"right_{part}"] / 2 for part in ("hip", "ankle"))
    upright = _angle(of["neck"] - hips, hips - ankles) < IN_LINE
    for side in ("left", "right"):
        hip, knee, ankle = (of[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        upright &= _angle(hip - knee, knee - ankle) < IN_LINE
    return upright


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between vectors (..., 3)."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosine = (first * second).sum(-1) / np.maximum(lengths, 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
