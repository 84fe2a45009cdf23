"""From bodies in front of a camera to keypoints in its image, for data sets that label bodies and not points.

Shapes: N people, K points.
"""

import numpy as np

from data_pipelines.builders.labels.keypoints import ENLARGE, box_of_points

NEAR = 0.1
"""Metres: what is nearer to the camera's plane has no place in the image."""


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., K, 3) camera axes -> (..., K, 3) px and confidence: 1, and 0 for what is not in front of the camera.

    Args:
        points: Metres.
        intrinsics: (3, 3), or (..., 3, 3).
    """
    front = points[..., 2] > NEAR
    depth = np.where(front, points[..., 2], 1)[..., None]
    flat = (points @ np.swapaxes(np.asarray(intrinsics, np.float64), -1, -2))[..., :2] / depth
    return np.concatenate([np.where(front[..., None], flat, 0), front[..., None]], -1)


def with_confidence(points: np.ndarray) -> np.ndarray:
    """(..., K, C) -> (..., K, C + 1), all confident."""
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1)


def box_in_image(points: np.ndarray, width: int, height: int, least: int = 8) -> tuple[np.ndarray, float] | None:
    """The box of the points that lie in the image (BEDLAM's rule), or None where these are fewer than `least`.

    Args:
        points: (K, 3) px and confidence.
        width: Of the image.
        height: Of the image.
        least: How many of them there must be.
    """
    inside = (points[:, :2] > -0.5).all(1) & (points[:, 0] < width - 0.5) & (points[:, 1] < height - 0.5)
    inside &= points[:, 2] > 0
    return box_of_points(points[inside], ENLARGE) if inside.sum() >= least else None


def median_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, K, 2 or more) px twice -> (N,) median distance; infinite where that is no number."""
    distance = np.linalg.norm(first[..., :2] - second[..., :2], axis=-1)
    return np.nan_to_num(np.median(distance, -1), nan=np.inf)
