"""Many bodies a block at a time, each block of one size, so that one program is compiled."""

from collections.abc import Iterator

import numpy as np


def equal_blocks(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Numbers (size,) of bodies, of which the last block repeats the last one, and how many of them are new."""
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1), min(size, count - start)
