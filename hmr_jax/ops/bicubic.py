"""Bicubic resizing along one axis, as PyTorch and OpenCV do it."""

import numpy as np


def bicubic_matrix(source: int, target: int, scale: float | None = None) -> np.ndarray:
    """(target, source) float32 matrix that resizes one axis; see `cubic_taps`."""
    matrix = np.zeros((target, source))
    for indices, weights in zip(*cubic_taps(source, target, scale), strict=True):
        np.add.at(matrix, (np.arange(target), indices), weights)
    return matrix.astype(np.float32)


def cubic_taps(source: int, target: int, scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Indices (4, target) of the cells that bicubic resizing of one axis reads, and their weights (4, target).

    As in PyTorch and OpenCV: Keys' kernel with a = -0.75, pixel centres at halves, edges repeated, no blur.

    Args:
        source: length before.
        target: length after.
        scale: target cells per source cell; None: target / source.
    """
    positions = (np.arange(target) + 0.5) / (target / source if scale is None else scale) - 0.5
    low = np.floor(positions).astype(int)
    t = positions - low
    distance = np.stack([t + 1, t, 1 - t, 2 - t])
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    indices = np.clip(low + np.arange(-1, 3)[:, None], 0, source - 1)
    return indices, np.where(distance <= 1, near, far)
