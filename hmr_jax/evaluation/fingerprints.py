"""Short hashes by which two evaluations are known to have the same samples, labels, parameters and settings."""

import hashlib
import json
from typing import Any

import flax
import numpy as np

from hmr_jax.batch import Batch
from hmr_jax.models.parameters import Params

LABELS = ("gender", "pose", "betas", "has_pose", "has_betas", "keypoints_3d", "keypoints_2d")
DIGEST = 8  # bytes


def fingerprints(batch: Batch) -> list[tuple[bytes, bytes]]:
    """(hash of the labels, hash of the image) of each sample of a batch on the host."""
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


def hash_params(params: Params) -> str:
    """A hash of a network's parameters; the kind of file that they are from does not matter."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(flax.traverse_util.flatten_dict(params, sep="/").items()):
        array = np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def hash_samples(samples: dict[str, np.ndarray], what: str) -> str:
    """A hash of the fingerprints "labels" or "picture" of all samples, in any order."""
    digest = hashlib.blake2b(digest_size=16)
    for key, value in sorted(zip(samples["key"].tolist(), samples[what].tolist(), strict=True)):
        digest.update(f"{key} {value:x}\n".encode())
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """A hash of plain JSON values."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
