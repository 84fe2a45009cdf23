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
    size = len(batch["index"])
    bytes_of = [np.ascontiguousarray(batch[name]).reshape(size, -1).view(np.uint8) for name in LABELS if name in batch]
    labels = np.concatenate(bytes_of, 1)
    pixels = np.ascontiguousarray(batch["image"]) if "image" in batch else np.zeros((size, 0), np.uint8)
    return [
        (
            hashlib.blake2b(label.data, digest_size=DIGEST).digest(),
            hashlib.blake2b(image.data, digest_size=DIGEST).digest(),
        )
        for label, image in zip(labels, pixels, strict=True)
    ]


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
