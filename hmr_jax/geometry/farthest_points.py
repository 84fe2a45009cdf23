"""Farthest-point sampling.

Shapes: N points.
"""

import numpy as np


def farthest_points(points: np.ndarray, count: int, first: int) -> np.ndarray:
    """Indices of points, each the farthest from all before it, so that every prefix is spread evenly.

    Args:
        points: (N, 3).
        count: how many, at most N.
        first: index of the first point.

    Returns:
        (count,) int.
    """
    chosen = [first]
    nearest = np.full(len(points), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)
