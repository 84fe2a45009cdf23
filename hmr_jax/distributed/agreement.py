"""What hosts tell each other: one value for all, and named bytes of each."""

from collections.abc import Sequence

import jax
import numpy as np


def agree(value: int) -> int:
    """The first host's value, on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(value)))


def all_agree(value: bool) -> bool:
    """Whether it is true on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.int32(value)).min())


def gather_named(numbers: Sequence[int], texts: Sequence[bytes]) -> dict[int, bytes]:
    """Numbered byte strings of this host -> those of all hosts; all hosts must make the same call."""
    if jax.process_count() == 1:
        return dict(zip(numbers, texts, strict=True))
    from jax.experimental.multihost_utils import process_allgather

    local = np.array([len(texts), max(map(len, texts), default=0)], np.int32)
    rows, width = np.max(process_allgather(local), axis=0)
    ids = np.full(rows, -1, np.int32)
    sizes = np.zeros(rows, np.int32)
    padded = np.zeros((rows, width), np.uint8)
    for row, (number, text) in enumerate(zip(numbers, texts, strict=True)):
        ids[row], sizes[row] = number, len(text)
        padded[row, : len(text)] = np.frombuffer(text, np.uint8)
    ids, sizes, padded = (np.asarray(process_allgather(array)) for array in (ids, sizes, padded))
    return {
        int(number): padded[host, row, : sizes[host, row]].tobytes()
        for host in range(len(ids))
        for row, number in enumerate(ids[host])
        if number >= 0
    }
