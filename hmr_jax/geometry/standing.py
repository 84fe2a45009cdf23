"""The focal length of an image, and where up is, from people of known length who stand on one level floor.

A person who stands is a segment from the ankles to the neck, vertical on the mean. How the segments' lengths in the
image change over it gives the horizon, and how they lean towards each other where verticals meet; both together, the
focal length. A camera that looks level tells nothing: verticals are parallel then, and the uncertainty says so.

Shapes: N people.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

FEWEST = 6
"""People; each gives two equations for four unknowns, and fewer hardly ever tell the focal length."""
LENGTH = 0.1
"""Relative error of a length, as networks predict it of an image: one standard deviation."""
LEAN = 5.0
"""Degrees by which people who stand or walk lean: one standard deviation."""
_SOFT = 2.0  # standard deviations from which on an error counts linearly
_STARTS = (0.1, 0.6)  # pitch, radians
_LEAST = (-1.5, -0.8, -1.3, -2.5)  # log of the factor on the focal length, pitch and roll, log of the height
_MOST = (1.5, 1.5, 1.3, 5.0)
_DOWN = 1e-3  # least slope of a ray to the floor
_NEAR = 1e-3  # least distance of a head, metres


class Ground(NamedTuple):
    """What people who stand say of their camera."""

    focal_length: float
    """px"""
    uncertainty: float
    """Relative, of the focal length: one standard deviation."""
    up: np.ndarray
    """(3,) unit vector in camera axes."""
    height: float
    """Of the camera above the ankles, metres."""


def ground_of(
    ankles: np.ndarray,
    necks: np.ndarray,
    lengths: np.ndarray,
    principal_point: np.ndarray,
    expected: float,
    spread: float,
) -> Ground | None:
    """The camera over the floor on which people stand.

    The most probable one, by robust least squares over the focal length, two angles and the height. The covariance is
    that of the errors above, or of the residuals where these are larger.

    Args:
        ankles: (N, 2) px, the middle of both.
        necks: (N, 2) px.
        lengths: (N,) metres between them.
        principal_point: (2,) px.
        expected: focal length before people are looked at, px.
        spread: relative uncertainty of `expected`.

    Returns:
        The camera, or None for fewer than `FEWEST` people.
    """
    if len(ankles) < FEWEST:
        return None
    ankles, necks = (np.asarray(points, np.float64) - principal_point for points in (ankles, necks))
    lengths = np.asarray(lengths, np.float64)
    seen = necks - ankles
    size = np.linalg.norm(seen, axis=1)

    def residuals(values: np.ndarray) -> np.ndarray:
        focal, up = expected * np.exp(values[0]), _up(*values[1:3])
        head = np.exp(values[3]) * _on_floor(ankles / focal, up) + lengths[:, None] * up
        shown = focal * head[:, :2] / np.maximum(head[:, 2:], _NEAR) - ankles
        along, across = (shown * seen).sum(1) / size, (shown[:, 0] * seen[:, 1] - shown[:, 1] * seen[:, 0]) / size
        longer = np.log(np.maximum(np.hypot(along, across), 1e-9) / size)
        lean = np.arctan2(across, along)
        return np.concatenate([longer / LENGTH, lean / np.radians(LEAN), [values[0] / spread]])

    def start(pitch: float) -> np.ndarray:
        """At the height at which most people have their lengths."""
        depth = _on_floor(ankles / expected, _up(pitch, 0.0))[:, 2]
        height = np.log(np.median(expected * lengths / size / depth))
        return np.array([0.0, pitch, 0.0, np.clip(height, _LEAST[3], _MOST[3])])

    fits = [
        least_squares(residuals, start(pitch), bounds=(_LEAST, _MOST), loss="soft_l1", f_scale=_SOFT)
        for pitch in _STARTS
    ]
    best = min(fits, key=lambda fit: fit.cost)
    excess = max(1.0, 2 * best.cost / (2 * len(ankles) - 3))
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * excess
    focal, pitch, roll, height = best.x
    uncertainty = float(np.sqrt(covariance[0, 0]))
    return Ground(float(expected * np.exp(focal)), uncertainty, _up(pitch, roll), float(np.exp(height)))


def _up(pitch: float, roll: float) -> np.ndarray:
    """(3,) in the axes of a camera that looks down by `pitch` and is rolled by `roll`, radians."""
    return np.array([np.sin(roll) * np.cos(pitch), -np.cos(roll) * np.cos(pitch), -np.sin(pitch)])


def _on_floor(rays: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(N, 3) where rays (N, 2) of the image reach a floor one metre below the camera; far away, if they do not."""
    rays = np.column_stack([rays, np.ones(len(rays))])
    return rays / np.maximum(-rays @ up, _DOWN)[:, None]
