"""From bodies in front of a camera to keypoints in its image, for data sets whose labels are bodies.

Shapes: N people, K points, C coordinates.
"""

import numpy as np

from data_pipelines.builders.labels.keypoints import ENLARGE, box_of_points

NEAR = 0.1
"""Metres: points that are nearer to the camera's plane are not projected."""


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., K, 3) camera axes -> (..., K, 3) px and confidence: 1, or 0 for points that are not in front of the camera.

    Args:
        points: metres.
        intrinsics: (3, 3) px, or (..., 3, 3).
    """
    front = points[..., 2] > NEAR
    depth = np.where(front, points[..., 2], 1)[..., None]
    pixels = (points @ np.swapaxes(np.asarray(intrinsics, np.float64), -1, -2))[..., :2] / depth
    return np.concatenate([np.where(front[..., None], pixels, 0), front[..., None]], -1)


def with_confidence(points: np.ndarray) -> np.ndarray:
    """(..., K, C) -> (..., K, C + 1) with confidence 1."""
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1)


def box_in_image(points: np.ndarray, width: int, height: int, least: int = 8) -> tuple[np.ndarray, float] | None:
    """Centre and side of the box of the points in the image (BEDLAM's rule), or None where there are too few.

    Args:
        points: (K, 3) px and confidence.
        width: of the image, px.
        height: of the image, px.
        least: how many points must lie in the image.
    """
    inside = (points[:, :2] > -0.5).all(1) & (points[:, 0] < width - 0.5) & (points[:, 1] < height - 0.5)
    inside &= points[:, 2] > 0
    return box_of_points(points[inside], ENLARGE) if inside.sum() >= least else None


def median_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., K, C) px twice -> (...,) median distance of the points; infinite where it is NaN."""
    distance = np.linalg.norm(first[..., :2] - second[..., :2], axis=-1)
    return np.nan_to_num(np.median(distance, -1), nan=np.inf)
