"""Sampling an image on a grid of rows and columns, blurred: two passes, of rows and of columns, compiled by Numba.

Shapes: H, W image, n rows and m columns that are sampled, t weights of each.
"""

import math

import numba
import numpy as np


def resample(image: np.ndarray, y: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs by a Gaussian (edges repeated, cut off at 4 sigma), then interpolates linearly, zero outside.

    Blur and interpolation are one step, so that only the pixels in use are blurred.

    Args:
        image: (H, W, 3) uint8.
        y: (n,) ascending positions of rows, px.
        x: (m,) ascending positions of columns, px.
        sigma: of the Gaussian, px; 0: no blur.

    Returns:
        (n, m, 3) float32.
    """
    first_row, down = _weights(y, sigma, image.shape[0])
    first_column, along = _weights(x, sigma, image.shape[1])
    left = max(int(first_column[0]), 0)
    right = max(min(int(first_column[-1]) + along.shape[1], image.shape[1]), left + 1)
    rows = np.zeros((len(y), right - left, 3), np.float32)
    _sum_rows(np.ascontiguousarray(image).reshape(len(image), -1), 3 * left, first_row, down, rows.reshape(len(y), -1))
    made = np.empty((len(y), len(x), 3), np.float32)
    _sum_columns(rows, first_column - left, along, made)
    return made


def _weights(positions: np.ndarray, sigma: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of t pixels in turn (n,) that make up each position on an axis, and their weights (n, t)."""
    reach = int(4 * sigma + 0.5)
    shown = min(reach, length + 1)  # from everywhere, what is farther away is an edge
    kernel = np.exp(-0.5 * (np.arange(-shown, shown + 1) / sigma) ** 2) if reach else np.ones(1)
    if shown < reach:
        tail = sigma * math.sqrt(math.pi / 2) * math.erf((reach + 0.5) / (sigma * math.sqrt(2)))
        tail -= kernel.sum() / 2
        kernel[[0, -1]] += tail
    kernel /= kernel.sum()
    low = np.floor(positions).astype(np.int64)
    lower = (low + 1 - positions) * ((low >= 0) & (low < length))  # weights of the two neighbours
    upper = (positions - low) * ((low >= -1) & (low < length - 1))
    weights = np.outer(lower, [*kernel, 0]) + np.outer(upper, [0, *kernel])
    return low - shown, weights.astype(np.float32)


def _sum_rows(image: np.ndarray, left: int, first: np.ndarray, weights: np.ndarray, made: np.ndarray) -> None:
    """Adds the weighted rows (H, values), from the value `left` on, to (n, values); rows beyond an edge are its."""
    last = image.shape[0] - 1
    for i in range(made.shape[0]):
        total = made[i]
        for k in range(weights.shape[1]):
            weight, row = weights[i, k], image[min(max(first[i] + k, 0), last), left : left + made.shape[1]]
            for j in range(made.shape[1]):
                total[j] += weight * row[j]


def _sum_columns(rows: np.ndarray, first: np.ndarray, weights: np.ndarray, made: np.ndarray) -> None:
    """Writes the sums of weighted columns of (n, columns, 3) to (n, m, 3); columns beyond an edge are its."""
    last = rows.shape[1] - 1
    for i in range(made.shape[0]):
        for j in range(made.shape[1]):
            red = green = blue = np.float32(0)
            for k in range(weights.shape[1]):
                weight, column = weights[j, k], min(max(first[j] + k, 0), last)
                red += weight * rows[i, column, 0]
                green += weight * rows[i, column, 1]
                blue += weight * rows[i, column, 2]
            made[i, j, 0], made[i, j, 1], made[i, j, 2] = red, green, blue


try:
    _sum_rows, _sum_columns = (numba.njit(nogil=True, cache=True)(kernel) for kernel in (_sum_rows, _sum_columns))
except RuntimeError:  # a read-only installation without a home has no folder for what is compiled
    _sum_rows, _sum_columns = (numba.njit(nogil=True)(kernel) for kernel in (_sum_rows, _sum_columns))
