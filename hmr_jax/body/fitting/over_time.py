"""Terms that bind the bodies of neighbouring frames to each other.

Each is a sum over frames of the squares of a few neighbours' points with coefficients: of accelerations, or of speeds.
NumPy in double precision: what frames have in common is the small rest of large numbers.

Shapes: F frames, K points, P parameters of a step, see `pose`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hmr_jax.body.fitting.solver import robust_share


class OverTime(NamedTuple):
    """Sums of the points of the frame before, the frame and the frame after are near 0."""

    coefficients: np.ndarray
    """(F, 3) of the three frames; 0 for frames that there are not."""
    weights: np.ndarray
    """(F, K) 1 over the standard deviation of the sum along an axis; 0: it does not count."""
    robust: float = 8.0
    """Standard deviations from which on a sum no longer matters."""


class Coupling(NamedTuple):
    """What terms over time say of steps s of all frames: the cost is near cost + 2 gradient s + s H s."""

    same: np.ndarray
    """(F, P, P) the part of H of each frame."""
    next: np.ndarray
    """(F, P, P) of each frame with the next one; 0 for the last one."""
    second: np.ndarray
    """(F, P, P) of each frame with the one after the next; 0 for the last two."""
    gradient: np.ndarray
    """(F, P)."""
    cost: float


def accelerations(times: np.ndarray, sigma: np.ndarray, robust: float = 8.0) -> OverTime:
    """Points do not accelerate much.

    Args:
        times: (F,) seconds, ascending.
        sigma: (K,) metres per second^2, one standard deviation along each axis.
        robust: see `OverTime`.
    """
    coefficients = np.zeros((len(times), 3))
    before, after = np.diff(times)[:-1], np.diff(times)[1:]
    coefficients[1:-1, 0], coefficients[1:-1, 2] = 2 / (before * (before + after)), 2 / (after * (before + after))
    coefficients[:, 1] = -coefficients[:, 0] - coefficients[:, 2]
    return OverTime(coefficients, np.broadcast_to(1 / sigma, (len(times), len(sigma))), robust)


def speeds(times: np.ndarray, weights: np.ndarray, robust: float = 8.0) -> OverTime:
    """Points stay where they are from a frame to the next.

    Args:
        times: (F,) seconds, ascending.
        weights: (F, K) seconds per metre: 1 over the standard deviation of the speed from this frame to the next;
            0: the point may move.
        robust: see `OverTime`.
    """
    coefficients = np.zeros((len(times), 3))
    coefficients[:-1, 2] = 1 / np.diff(times)
    coefficients[:, 1] = -coefficients[:, 2]
    return OverTime(coefficients, weights, robust)


def couple(terms: Sequence[OverTime], points: np.ndarray, jacobian: np.ndarray) -> Coupling:
    """The equations of all terms.

    Args:
        terms: of the same F frames.
        points: (F, K, 3) metres.
        jacobian: (F, K, 3, P) derivatives of each frame's points by its step.
    """
    points, jacobian = np.asarray(points, np.float64), np.asarray(jacobian, np.float64)
    frames, count = len(points), jacobian.shape[-1]
    cost, pull = 0.0, np.zeros_like(points)  # derivatives of half the cost by the points
    shares = np.zeros((3, *points.shape[:2]))  # second ones, by a point twice, and by it and 1 or 2 frames later
    for term in terms:
        own = term.coefficients.T[..., None]  # (3, F, 1)
        away = own[1, ..., None] * points
        away += own[0, ..., None] * _later(points, -1) + own[2, ..., None] * _later(points, 1)
        squared = (term.weights**2) * (away**2).sum(-1)
        share = robust_share(squared, term.robust)
        weights = (share * term.weights) ** 2
        cost += float((squared * share).sum())
        force = weights[..., None] * away
        # A frame is the one before of the sum of the next frame, and the one after of the sum of the last frame.
        pull += own[1, ..., None] * force
        pull += _later(own[0, ..., None] * force, 1) + _later(own[2, ..., None] * force, -1)
        shares[0] += own[1] ** 2 * weights + _later(own[0] ** 2 * weights, 1) + _later(own[2] ** 2 * weights, -1)
        shares[1] += own[1] * own[2] * weights + _later(own[0] * own[1] * weights, 1)
        shares[2] += _later(own[0] * own[2] * weights, 1)
    flat = jacobian.reshape(frames, -1, count)
    each = np.repeat(shares, points.shape[2], -1)
    same, one, two = (np.swapaxes(flat * weight[..., None], 1, 2) @ _later(flat, by) for by, weight in enumerate(each))
    return Coupling(same, one, two, np.einsum("fkip,fki->fp", jacobian, pull), cost)


def _later(array: np.ndarray, by: int) -> np.ndarray:
    """(F, ...) each frame's value `by` frames later, 0 where there is none."""
    made = np.zeros_like(array)
    if by >= 0:
        made[: len(array) - by] = array[by:]
    else:
        made[-by:] = array[:by]
    return made
