"""Random numbers that belong to an example: those of example i depend on (seed, stream, i) alone, not on its batch.

Shapes: B examples.
"""

import math

import numba
import numpy as np
from scipy.special import ndtri

from hmr_jax.io.cache import keeps_compiled

STREAMS = (
    "pose", "camera", "appearance", "scene", "sensor", "depth",
    "scale", "rotation", "shift", "flip", "color", "extreme_crop", "upright", "natural",
)  # fmt: skip
"""A stream is drawn by its position here: append new names, so that what the others draw stays the same."""
SPLITS = ("train", "validation", "test")
BLOCK = 256  # uniforms of an example that are computed at a time


def split_seed(seed: int, split: str) -> int:
    """The seed of the synthetic people of a split; no two splits share one, whatever their seeds."""
    return len(SPLITS) * seed + SPLITS.index(split)


class Draws:
    """Vectorised draws for B examples from one named stream.

    Every call consumes the next columns of a table of uniforms, which has a row for each example and no end, so code
    that always makes the same calls gets the same numbers. Streams are independent: a new draw for the clothes does not
    change the poses.
    """

    def __init__(self, seed: int, indices: np.ndarray, stream: str, block: int = BLOCK):
        """Starts a stream from its beginning.

        Args:
            seed: of the run.
            indices: (B,) numbers of the examples.
            stream: one of `STREAMS`.
            block: columns computed at a time; it changes the speed and not the numbers.
        """
        self._seed, self._stream = np.uint64(seed), np.uint64(STREAMS.index(stream))
        self._indices: np.ndarray | None = np.asarray(indices).astype(np.uint64)
        self._block, self._used, self._table = block, 0, np.empty((len(indices), 0))

    def split(self, ways: int, columns: int) -> "Draws":
        """Independent draws for B * ways rows, those of an example next to each other, of up to `columns` numbers."""
        rows = Draws.__new__(Draws)
        rows._indices, rows._block, rows._table = None, 0, self._fresh(ways * columns).reshape(-1, columns)
        return rows

    def _fresh(self, count: int) -> np.ndarray:
        if self._indices is None:
            raise ValueError("These draws are used up: split with more columns.")
        numbers = np.empty((len(self._indices), count))
        _fill(self._seed, self._indices, self._stream, self._used, numbers)
        self._used += count
        return numbers

    def uniform(
        self, low: float | np.ndarray = 0.0, high: float | np.ndarray = 1.0, shape: tuple[int, ...] = ()
    ) -> np.ndarray:
        """(B, *shape) uniform in [low, high)."""
        count = math.prod(shape)
        while self._table.shape[1] < count:
            self._table = np.concatenate([self._table, self._fresh(self._block)], 1)
        taken, self._table = self._table[:, :count], self._table[:, count:]
        return low + (np.asarray(high) - low) * taken.reshape(-1, *shape)

    def normal(
        self,
        mean: float | np.ndarray = 0.0,
        std: float | np.ndarray = 1.0,
        shape: tuple[int, ...] = (),
        clip: float = 3.0,
    ) -> np.ndarray:
        """(B, *shape) normal, cut at `clip` standard deviations."""
        return mean + std * np.clip(ndtri(np.maximum(self.uniform(shape=shape), 1e-12)), -clip, clip)

    def log_uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> np.ndarray:
        """(B, *shape) uniform in the logarithm."""
        return np.exp(self.uniform(np.log(low), np.log(high), shape))

    def happens(self, probability: float | np.ndarray) -> np.ndarray:
        """(B,) bool, true with a probability."""
        return self.uniform() < probability

    def sign(self) -> np.ndarray:
        """(B,) -1 or 1."""
        return np.where(self.happens(0.5), 1.0, -1.0)

    def choice(self, weights: np.ndarray) -> np.ndarray:
        """(B,) option numbers; `weights` (N,) or (B, N) need not sum to 1."""
        cumulative = np.cumsum(np.atleast_2d(weights), 1)
        return (self.uniform()[:, None] * cumulative[:, -1:] >= cumulative).sum(1)


_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_BUMPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@numba.njit(nogil=True, cache=keeps_compiled())
def _fill(seed, indices, stream, first, out):
    """What NumPy's generator Philox with key (seed, index) and counter (0, 0, 0, stream) draws from `first` on."""
    for i in range(len(indices)):
        for j in range(out.shape[1]):
            word = (first + j) % 4  # of the four that a counter gives
            if j == 0 or word == 0:
                block = _philox(np.uint64((first + j) // 4 + 1), stream, seed, indices[i])
            out[i, j] = np.float64(block[word] >> np.uint64(11)) * 2.0**-53


@numba.njit(nogil=True, cache=keeps_compiled())
def _philox(counter, stream, seed, index):
    """Four random 64-bit numbers: ten rounds of Philox (Salmon et al. 2011)."""
    a, b, c, d = counter, np.uint64(0), np.uint64(0), stream
    key, other = seed, index
    for _ in range(10):
        product = _high(_MULTIPLIERS[0], a), _high(_MULTIPLIERS[1], c)
        a, b, c, d = product[1] ^ b ^ key, _MULTIPLIERS[1] * c, product[0] ^ d ^ other, _MULTIPLIERS[0] * a
        key, other = key + _BUMPS[0], other + _BUMPS[1]
    return a, b, c, d


@numba.njit(nogil=True, cache=keeps_compiled())
def _high(x, y):
    """The upper 64 bits of a product."""
    x0, x1, y0, y1 = x & _LOW, x >> _HALF, y & _LOW, y >> _HALF
    middle = x1 * y0 + (x0 * y0 >> _HALF)
    other = x0 * y1 + (middle & _LOW)
    return x1 * y1 + (middle >> _HALF) + (other >> _HALF)
