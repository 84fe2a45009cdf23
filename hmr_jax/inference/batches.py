"""People in batches of one size, for which one program is compiled.

Shapes: B batch.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import numpy as np

_AT_ONCE = 2  # batches: one's crops are cut while the network sees the other
One = TypeVar("One")
Made = TypeVar("Made")


def in_batches(run: Callable[[Sequence[One]], Sequence[Made]], items: Sequence[One], size: int) -> Iterator[Made]:
    """What `run` makes of each item, in their order.

    Args:
        run: from a batch to what is made of each of its items; called by two threads.
        items: of any number.
        size: of the batches; the last may be smaller.
    """
    batches = [items[start : start + size] for start in range(0, len(items), size)]

    def run_one(batch: Sequence[One]) -> Sequence[Made]:
        with jax.numpy_rank_promotion("allow"):  # a user's check, which Flax itself would not pass
            return run(batch)

    if len(batches) == 1:
        yield from run_one(batches[0])
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for made in pool.map(run_one, batches):
            yield from made


def pad(array: np.ndarray, size: int) -> np.ndarray:
    """(b, ...) -> (size, ...): repeats the last row, as padding with zeros could give numbers that are not finite."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), 0)])
