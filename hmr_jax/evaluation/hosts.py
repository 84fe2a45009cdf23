"""What the hosts of an evaluation tell each other: names and fingerprints of the samples that each has read.

The numbers of a batch reach every host through the jitted step, whose results are replicated. Strings do not fit into
device arrays; they travel here, as bytes.

Letters: n samples of this host.
"""

import hashlib
from collections.abc import Sequence

import jax
import numpy as np

from hmr_jax.batch import Batch

LABELS = ("gender", "pose", "betas", "has_pose", "has_betas", "keypoints_3d", "keypoints_2d")
DIGEST = 8  # bytes


def fingerprints(batch: Batch) -> list[tuple[bytes, bytes]]:
    """A short hash of the labels and one of the picture, for each sample of a batch on the host."""
    labels = [np.ascontiguousarray(batch[name]) for name in LABELS if name in batch]
    image = np.ascontiguousarray(batch["image"]) if "image" in batch else None
    found = []
    for row in range(len(batch["index"])):
        digest = hashlib.blake2b(digest_size=DIGEST)
        for array in labels:
            digest.update(array[row].tobytes())
        pixels = b"" if image is None else image[row].data
        found.append((digest.digest(), hashlib.blake2b(pixels, digest_size=DIGEST).digest()))
    return found


def gather(numbers: Sequence[int], texts: Sequence[bytes]) -> dict[int, bytes]:
    """Numbered byte strings of this host -> those of all hosts; every host must call it at the same place."""
    if jax.process_count() == 1:
        return dict(zip(numbers, texts, strict=True))
    from jax.experimental.multihost_utils import process_allgather

    mine = np.array([len(texts), max(map(len, texts), default=0)], np.int32)
    rows, width = np.max(process_allgather(mine), axis=0)
    ids = np.full(rows, -1, np.int32)
    sizes = np.zeros(rows, np.int32)
    letters = np.zeros((rows, width), np.uint8)
    for row, (number, text) in enumerate(zip(numbers, texts, strict=True)):
        ids[row], sizes[row] = number, len(text)
        letters[row, : len(text)] = np.frombuffer(text, np.uint8)
    ids, sizes, letters = (np.asarray(process_allgather(array)) for array in (ids, sizes, letters))
    return {
        int(number): letters[host, row, : sizes[host, row]].tobytes()
        for host in range(len(ids))
        for row, number in enumerate(ids[host])
        if number >= 0
    }


def agree(value: int) -> int:
    """The first host's value, on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(value)))
