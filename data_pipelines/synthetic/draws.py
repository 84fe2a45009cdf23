"""Random numbers that belong to an example: row i depends on (seed, index i) alone, whichever batch asks.

Letters: B examples.
"""

import math

import numpy as np
from scipy.special import ndtri

STREAMS = ("pose", "camera", "appearance", "scene", "sensor", "depth")
BLOCK = 256  # uniforms fetched at a time


class Draws:
    """Vectorised draws for B examples from one named stream.

    Every call consumes the next columns of a (B, infinite) table of uniforms, so code that always makes the same calls
    gets the same numbers. Streams are independent: a new draw for the clothes does not change the poses.
    """

    def __init__(self, seed: int, indices: np.ndarray, stream: str):
        counter = np.array([0, 0, 0, STREAMS.index(stream)], np.uint64)
        self._generators = [
            np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64), counter=counter))
            for index in indices
        ]
        self._table = np.empty((len(indices), 0))

    def split(self, ways: int, columns: int) -> "Draws":
        """Independent draws for B * ways rows, `ways` in a row for each example, of at most `columns` numbers each."""
        rows = Draws.__new__(Draws)
        rows._generators, rows._table = [], self._fresh(ways * columns).reshape(-1, columns)
        return rows

    def _fresh(self, count: int) -> np.ndarray:
        if not self._generators:
            raise ValueError("These split draws are used up; split with more columns.")
        return np.stack([generator.random(count) for generator in self._generators])

    def uniform(self, low=0.0, high=1.0, shape: tuple[int, ...] = ()) -> np.ndarray:
        """(B, *shape) uniform in [low, high)."""
        count = math.prod(shape)
        while self._table.shape[1] < count:
            self._table = np.concatenate([self._table, self._fresh(BLOCK)], 1)
        taken, self._table = self._table[:, :count], self._table[:, count:]
        return low + (np.asarray(high) - low) * taken.reshape(-1, *shape)

    def normal(self, mean=0.0, std=1.0, shape: tuple[int, ...] = (), clip: float = 3.0) -> np.ndarray:
        """(B, *shape) normal, cut at `clip` standard deviations."""
        return mean + std * np.clip(ndtri(np.maximum(self.uniform(shape=shape), 1e-12)), -clip, clip)

    def log_uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> np.ndarray:
        """(B, *shape) uniform in the logarithm."""
        return np.exp(self.uniform(np.log(low), np.log(high), shape))

    def happens(self, probability) -> np.ndarray:
        """(B,) bool."""
        return self.uniform() < probability

    def sign(self) -> np.ndarray:
        """(B,) -1 or 1."""
        return np.where(self.happens(0.5), 1.0, -1.0)

    def choice(self, weights: np.ndarray) -> np.ndarray:
        """(B,) option numbers; `weights` (N,) or (B, N) need not sum to 1."""
        cumulative = np.cumsum(np.atleast_2d(weights), 1)
        return (self.uniform()[:, None] * cumulative[:, -1:] >= cumulative).sum(1)
