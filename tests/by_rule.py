"""Weights that need not be stored: the name of a tensor seeds its values."""

import json
import zlib
from collections.abc import Iterable

import numpy as np


def made_by_rule(names: Iterable[str], shapes: Iterable) -> dict[str, np.ndarray]:
    """A state dict; shapes are tuples or their JSON."""
    state = {}
    for name, given in zip(map(str, names), shapes, strict=True):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        shape = tuple(json.loads(str(given)) if isinstance(given, str) else given)
        if len(shape) in (2, 4):
            value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = 1 + 0.2 * rng.random(shape)
        elif name.endswith("running_mean"):
            value = 0.1 * rng.standard_normal(shape)
        elif name.endswith("weight"):
            value = (0.5 if ".bn2." in name or ".bn3." in name else 0.8) + 0.1 * rng.standard_normal(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        state[name] = value.astype(np.float32)
    return state
