"""Which record is example number k: a pure function, so the order needs neither state nor a shuffle buffer.

Every host computes the same function and takes its own slice of each batch; a run that restarts asks for the batches
from its step on. Both see exactly the examples that one uninterrupted host would have seen.

Shapes: B examples asked for, D data sets, S slots of the pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SLOTS = 1000
"""Length of the pattern of data sets, which repeats without end; a weight is rounded to a multiple of 1 / SLOTS."""


@dataclass(frozen=True)
class IndexStream:
    """An endless shuffled mixture of data sets.

    The mixture's proportions hold exactly in every block of SLOTS examples and nearly in every shorter run. Each data
    set is visited epoch by epoch, every record once an epoch, in an order that is new in each epoch.
    """

    sizes: tuple[int, ...]
    """(D,) records in each data set."""
    weights: tuple[float, ...]
    """(D,) relative shares."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.weights) or min(self.sizes, default=0) < 1 or min(self.weights) <= 0:
            raise ValueError(f"Each data set needs records and a positive weight: {self.sizes=}, {self.weights=}.")

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Looks examples up.

        Args:
            numbers: (B,) numbers of examples, from 0 on.

        Returns:
            (B,) the data set of each, and (B,) the record within it.
        """
        pattern, rank, counts = _slots(self.weights)
        numbers = np.asarray(numbers, np.int64)
        block, slot = np.divmod(numbers, len(pattern))
        dataset = pattern[slot]
        position = block * counts[dataset] + rank[slot]  # how many examples of this data set came before
        epoch, within = np.divmod(position, np.asarray(self.sizes)[dataset])
        index = np.empty_like(numbers)
        for d, e in set(zip(dataset.tolist(), epoch.tolist(), strict=True)):
            rows = (dataset == d) & (epoch == e)
            index[rows] = _permutation(self.seed, d, e, self.sizes[d])[within[rows]]
        return dataset, index


@dataclass(frozen=True)
class InOrder:
    """Data sets one after another, each from its first record to its last: the order of an evaluation."""

    sizes: tuple[int, ...]
    """(D,) records in each data set."""

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The data set of each example, (B,), and the record within it, (B,), for numbers below sum(sizes)."""
        ends = np.cumsum(self.sizes)
        dataset = np.searchsorted(ends, numbers, side="right")
        return dataset, numbers - (ends - self.sizes)[dataset]


def batch_numbers(step: int, batch_size: int, process_index: int = 0, process_count: int = 1) -> np.ndarray:
    """The examples of one host's contiguous slice of global batch `step`, (batch_size // process_count,) int64.

    Raises:
        ValueError: the hosts cannot share a batch of this size.
    """
    if batch_size % process_count:
        raise ValueError(f"A batch of {batch_size} cannot be shared by {process_count} hosts: choose a multiple.")
    share = batch_size // process_count
    return step * batch_size + process_index * share + np.arange(share)


@lru_cache(maxsize=32)
def _slots(weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S,) data set of each slot, (S,) how many earlier slots have the same data set, (D,) slots of each data set."""
    if len(weights) == 1:
        return np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64)
    share = np.asarray(weights, np.float64) / sum(weights) * SLOTS
    counts = np.maximum(np.floor(share), 1).astype(np.int64)
    while (missing := SLOTS - counts.sum()) != 0:  # largest remainder; a tiny weight's slot is taken from the largest
        counts[np.argmax(share - counts) if missing > 0 else np.argmax(counts)] += np.sign(missing)
    # The j-th of a data set's n slots belongs at (j + 1/2) / n: sorting these spreads every data set evenly.
    dataset = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    order = np.argsort((rank + 0.5) / counts[dataset], kind="stable")
    return dataset[order], rank[order], counts


@lru_cache(maxsize=64)
def _permutation(seed: int, dataset: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, dataset, epoch]).permutation(np.arange(size, dtype=np.int32))
