"""Zero-phase smoothing of a track: rotations on SO(3), points and positions, at regular or irregular times.

Every value becomes that of a parabola fitted to its neighbours in time, weighted by their distance and their
uncertainty (local regression, Cleveland 1979; on regular times Savitzky and Golay 1964). A parabola follows peaks that
a mean would cut off, and neighbours on both sides leave no delay. Rotations are fitted in the tangent space at the
rotation itself. Pure NumPy.

Shapes: F frames, C channels, J joints, K points.
"""

from collections.abc import Callable

import numpy as np

HALF_WIDTH = 0.2
"""Seconds on each side of a frame that its parabola is fitted to."""
FEWEST = 3.5
"""Frames on each side, at least."""
_CURVATURE = 1e-3  # penalty of the parabola's curvature, in units of the width, beside a sum of weights of 1
_ONE_SIDED = 0.5  # times the squared mean lag of the neighbours, added to it: at the ends, curves become straight
_OUTLIER = 3.0  # times the median distance from the curve: weights of what is farther fall
_FILLED = 0.05  # weight of values that were interpolated
_CHUNK = 512  # frames at once


def half_width(times: np.ndarray, seconds: float = HALF_WIDTH) -> float:
    """Seconds on each side: `seconds`, or `FEWEST` frames where the frame rate is low."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return max(seconds, FEWEST * step)


def smooth_values(
    values: np.ndarray, times: np.ndarray, width: float | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Smooths numbers.

    Args:
        values: (F, C).
        times: (F,) seconds, ascending.
        width: seconds on each side; a number, or (C,).
        weights: (F,) or (F, C), at least 0; None: all 1.

    Returns:
        (F, C) float64.
    """
    values = np.asarray(values, np.float64)

    def around(low: int, high: int, window: np.ndarray) -> np.ndarray:
        return values[window] - values[low:high, None]

    return values + _fit(around, values.shape[1], times, width, weights)


def smooth_points(
    points: np.ndarray, times: np.ndarray, width: float | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Smooths points (F, K, c); `width` is a number or (K,), `weights` are (F, K) or None."""
    frames, count, axes = points.shape
    flat = None if weights is None else np.repeat(weights, axes, 1)
    wide = np.repeat(np.broadcast_to(width, count), axes)
    return smooth_values(points.reshape(frames, -1), times, wide, flat).reshape(points.shape)


def smooth_rotations(
    rotations: np.ndarray,
    times: np.ndarray,
    width: float | np.ndarray,
    weights: np.ndarray | None = None,
    robust: bool = True,
) -> np.ndarray:
    """Smooths rotations.

    Args:
        rotations: (F, J, 4) unit quaternions w, x, y, z of either sign.
        times: (F,) seconds, ascending.
        width: seconds on each side; a number, or (J,).
        weights: (F, J), at least 0; None: all 1.
        robust: whether rotations that stand alone, far from the curve, count less.

    Returns:
        (F, J, 4) unit quaternions.
    """
    frames, joints = rotations.shape[:2]
    given = np.ones((frames, joints)) if weights is None else np.asarray(weights, np.float64)
    wide = np.repeat(np.broadcast_to(width, joints), 3)
    curve = np.asarray(rotations, np.float64)
    for look in range(2 if robust else 1):
        now = given
        if look:
            far = np.linalg.norm(log(multiply(conjugate(curve), rotations)), axis=-1)
            usual = np.maximum(_OUTLIER * np.median(far, 0), np.radians(2.0))
            now = given / (1 + (far / usual) ** 2) ** 2
        start = curve

        def around(low: int, high: int, window: np.ndarray, start: np.ndarray = start) -> np.ndarray:
            tangent = log(multiply(conjugate(start[low:high, None]), rotations[window]))
            return tangent.reshape(*window.shape, -1)

        step = _fit(around, 3 * joints, times, wide, np.repeat(now, 3, 1))
        curve = multiply(start, exp(step.reshape(frames, joints, 3)))
    return curve / np.linalg.norm(curve, axis=-1, keepdims=True)


def _fit(
    around: Callable[[int, int, np.ndarray], np.ndarray],
    channels: int,
    times: np.ndarray,
    width: float | np.ndarray,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Values at each frame of the parabolas through its neighbours, (F, C).

    Args:
        around: from a range of b frames and the numbers (b, m) of their neighbours to values (b, m, C).
        channels: C.
        times: (F,).
        width: a number or (C,).
        weights: (F,), (F, C) or None.
    """
    times = np.asarray(times, np.float64)
    frames = len(times)
    widths = np.broadcast_to(np.asarray(width, np.float64), channels)
    known = np.ones((frames, 1)) if weights is None else np.asarray(weights, np.float64).reshape(frames, -1)
    reach = widths.max()
    first, last = np.searchsorted(times, times - reach), np.searchsorted(times, times + reach, "right")
    most = int((last - first).max())
    made = np.empty((frames, channels))
    for low in range(0, frames, _CHUNK):
        high = min(low + _CHUNK, frames)
        numbers = first[low:high, None] + np.arange(most)
        window = np.minimum(numbers, frames - 1)
        lag = (times[window] - times[low:high, None])[..., None] / widths
        kernel = np.maximum(1 - np.abs(lag) ** 3, 0) ** 3 * (numbers < last[low:high, None])[..., None]
        kernel = kernel * known[window]
        made[low:high] = _parabola(lag, kernel, around(low, high, window))
    return made


def _parabola(lag: np.ndarray, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Value at lag 0 of the weighted least-squares parabolas through values (b, m, C): (b, C)."""
    total = np.maximum(weights.sum(1), 1e-12)
    moments = [(weights * lag**power).sum(1) / total for power in range(5)]
    sides = [(weights * lag**power * values).sum(1) / total for power in range(3)]
    matrix = np.stack([np.stack([moments[row + column] for column in range(3)], -1) for row in range(3)], -2)
    matrix = matrix + np.diag([1e-9, 1e-6, _CURVATURE])
    matrix[..., 2, 2] += _ONE_SIDED * moments[1] ** 2
    return np.linalg.solve(matrix, np.stack(sides, -1)[..., None])[..., 0, 0]


def fill(values: np.ndarray, times: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Replaces what is not known by linear interpolation in time; beyond the ends, by the nearest value.

    Args:
        values: (F, ...) numbers.
        times: (F,) seconds, ascending.
        known: (F,) bool, one at least.

    Returns:
        (F, ...) float64.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    columns = [np.interp(times, times[known], column[known]) for column in flat.T]
    return np.stack(columns, 1).reshape(values.shape)


def fill_rotations(rotations: np.ndarray, times: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The same for unit quaternions (F, J, 4): along the shortest way, at constant speed (Shoemake 1985)."""
    made = np.array(rotations, np.float64)
    ids = np.flatnonzero(known)
    after = np.searchsorted(ids, np.arange(len(times)))
    before, behind = ids[np.maximum(after - 1, 0)], ids[np.minimum(after, len(ids) - 1)]
    gap = np.flatnonzero(~known)
    start, end = before[gap], behind[gap]
    span = np.maximum(times[end] - times[start], 1e-9)
    share = np.clip((times[gap] - times[start]) / span, 0, 1)
    way = log(multiply(conjugate(made[start]), made[end]))
    made[gap] = multiply(made[start], exp(share[:, None, None] * way))
    return made


def trust(sigma: np.ndarray | None, known: np.ndarray, count: int) -> np.ndarray:
    """Weights (F, count) from expected errors: 1 / sigma^2, on the mean 1; small where a value was interpolated.

    Args:
        sigma: (F, count) expected errors in any unit, or None.
        known: (F,) bool: whether a frame's values are predictions.
        count: of the weights' columns.
    """
    weights = np.ones((len(known), count))
    if sigma is not None:
        usual = np.median(sigma[known], 0)
        weights = np.clip((usual / np.maximum(sigma, 1e-6)) ** 2, 0.05, 4.0)
    return np.where(known[:, None], weights, _FILLED)


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hamilton's product of quaternions w, x, y, z, (..., 4)."""
    a, b = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    return np.stack(
        [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ],
        -1,
    )


def conjugate(quaternions: np.ndarray) -> np.ndarray:
    """The inverse of unit quaternions (..., 4)."""
    return quaternions * np.array([1.0, -1, -1, -1])


def log(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) of either sign to axis times angle (..., 3), the angle in [0, pi]."""
    signed = np.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    sine = np.linalg.norm(signed[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, signed[..., :1])
    return signed[..., 1:] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)


def exp(vectors: np.ndarray) -> np.ndarray:
    """Axis times angle (..., 3) to unit quaternions (..., 4)."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    ratio = np.where(angle > 1e-9, np.sin(angle / 2) / np.maximum(angle, 1e-9), 0.5)
    return np.concatenate([np.cos(angle / 2), ratio * vectors], -1)
