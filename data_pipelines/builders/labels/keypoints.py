"""From the joint sets of data sets to the 44 keypoints of records, and boxes around points.

Shapes: K points of a set, C coordinates and confidence.
"""

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44, OPENPOSE_25_FROM_45

# COCO-18, OpenPose's older set: OpenPose's 25 without the middle of the hips and the feet.
COCO_18 = (*range(8), *range(9, 19))
_SPIN_24_START = 25
# Where COCO's 17 and MPII's 16 points belong among SPIN's 24; the first 19 of these are the last 19 of our 44.
COCO_17_TO_SPIN = (19, 20, 21, 22, 23, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0)
MPII_16_TO_SPIN = (0, 1, 2, 3, 4, 5, 14, 15, 12, 13, 6, 7, 8, 9, 10, 11)
# Of Human3.6M's 32 points, those that SPIN picks, and where they belong (MPI-INF-3DHP's 17 likewise).
H36M_17_OF_32 = (11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27)
H36M_17_TO_SPIN = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
OPENPOSE_BODY = slice(1, 15)
"""OpenPose's points that are SMPL's own joints, `SMPL_OF_OPENPOSE`."""
SMPL_OF_OPENPOSE = list(OPENPOSE_25_FROM_45[1:15])
"""The joints of SMPL's 24 that are OpenPose's points of `OPENPOSE_BODY`, in their order."""
ENLARGE = 1.2
"""Boxes are tight boxes times this (SPIN, HMR2.0)."""
SIZES = (0.42, 1.8)
"""Plausible sizes of people in units of an average adult: a foot taken for a metre, or an inch for a centimetre, and
the other way round, lie outside."""
# Pairs of the 44 points at a fixed distance from one another, in two joint sets, and that distance in an adult, metres.
_BONES = np.array(
    [(*pair, length) for pairs, length in (
        (((27, 26), (28, 29), (9, 10), (12, 13)), 0.40), (((26, 25), (29, 30), (10, 11), (13, 14)), 0.44),
        (((33, 32), (34, 35), (2, 3), (5, 6)), 0.27), (((32, 31), (35, 36), (3, 4), (6, 7)), 0.24),
        (((33, 34), (2, 5)), 0.36), (((37, 39), (40, 39), (1, 8)), 0.50), (((37, 38),), 0.28),
    ) for pair in pairs]
)  # fmt: skip
_FIRST, _SECOND = _BONES[:, :2].astype(int).T


def from_coco_18(points: np.ndarray) -> np.ndarray:
    """(18, C) with confidence last -> (44, C)."""
    result = np.zeros((len(KEYPOINTS_44), points.shape[1]))
    result[list(COCO_18)] = points
    return clip_confidence(result)


def clip_confidence(points: np.ndarray, most: float = np.inf) -> np.ndarray:
    """(..., K, C) points with confidence last, clipped to [0, most].

    That of OpenPose and ViTPose can exceed 1, and the original losses weigh by it as it is.

    What is not a number under confidence 0, or in all numbers of a point, marks an absent point, whose numbers become
    0. Elsewhere it stays, to be found.
    """
    points = np.array(points, np.float64)
    absent = (points[..., -1] <= 0) | np.isnan(points).all(-1)
    points[absent] = np.where(np.isfinite(points[absent]), points[absent], 0)
    points[..., -1] = np.clip(points[..., -1], 0, most)
    return points


def person_size(keypoints_3d: np.ndarray) -> float | None:
    """Size of a person in units of an average adult, from the lengths of bones; None where no bone is known.

    Args:
        keypoints_3d: (44, 4) metres and confidence.
    """
    seen = keypoints_3d[:, 3] > 0
    known = seen[_FIRST] & seen[_SECOND]
    if not known.any():
        return None
    lengths = np.linalg.norm(keypoints_3d[_FIRST[known], :3] - keypoints_3d[_SECOND[known], :3], axis=1)
    return float(np.median(lengths / _BONES[known, 2]))


def from_spin_24(points: np.ndarray, openpose: np.ndarray | None = None) -> np.ndarray:
    """(24, C) SPIN points and (25, C) OpenPose points, confidence last -> (44, C), as `clip_confidence` leaves them.

    The five facial points of SPIN's 24 are dropped into OpenPose's nose, eyes and ears where these are absent.
    """
    points = clip_confidence(points)
    result = np.zeros((len(KEYPOINTS_44), points.shape[1]))
    if openpose is not None:
        result[:25] = clip_confidence(openpose)
    result[_SPIN_24_START:] = points[:19]
    for spin, pose in zip((19, 20, 21, 22, 23), (0, 16, 15, 18, 17), strict=True):
        if result[pose, -1] == 0:
            result[pose] = points[spin]
    return result


def from_h36m_17(points: np.ndarray) -> np.ndarray:
    """(17, C) points in the order of `H36M_17_OF_32`, confidence last -> (44, C)."""
    spin = np.zeros((24, points.shape[1]))
    spin[list(H36M_17_TO_SPIN)] = points
    return from_spin_24(spin)


def box_of_points(points: np.ndarray, enlarge: float = ENLARGE) -> tuple[np.ndarray, float] | None:
    """Centre (2,) and side of the square around the points with confidence, px; None where there are none.

    Args:
        points: (K, 3) px and confidence.
        enlarge: side in units of the tight box's larger side.
    """
    seen = points[points[:, 2] > 0, :2]
    if len(seen) == 0:
        return None
    low, high = seen.min(0), seen.max(0)
    return (low + high) / 2, enlarge * float((high - low).max())
