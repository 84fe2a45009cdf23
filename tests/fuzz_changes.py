"""Random changes of what files hold: arrays of another shape, type or range, fields that are missing or renamed."""

import copy
import random
from typing import Any

import numpy as np
from fuzz_inputs import JUNK, NUMBERS

TYPES = (np.float16, np.float32, np.int64, np.uint8, bool, complex, object, str, bytes, ">f8")


def change_array(array: np.ndarray, rng: random.Random) -> Any:
    """An array of another shape, type or range."""
    kind = rng.randrange(10)
    try:
        if kind == 0:
            return array.astype(rng.choice(TYPES))
        if kind == 1:
            return array[..., None] if rng.random() < 0.5 else array[None]
        if kind == 2:
            return np.asfortranarray(array).T if rng.random() < 0.5 else np.asfortranarray(array)
        if kind == 3:
            return array.ravel()
        if kind == 4 and array.ndim:
            axis = rng.randrange(array.ndim)
            return np.take(array, range(rng.randrange(array.shape[axis] + 1)), axis)
        if kind == 5 and array.ndim:
            axis = rng.randrange(array.ndim)
            return np.concatenate([array, array], axis)
        if kind == 6:
            return array.dtype.type(0)
        if kind == 7:
            return array * rng.choice(NUMBERS)
        if kind == 8:
            return array.tolist()
        changed = array.copy() if rng.random() < 0.7 else array.astype(object)
        changed[tuple(rng.randrange(length) for length in array.shape)] = rng.choice((*NUMBERS, *JUNK[:8]))
    except (TypeError, ValueError, OverflowError, np.exceptions.DTypePromotionError):
        return rng.choice(JUNK[:11])
    return changed


def change(tree: Any, rng: random.Random) -> Any:
    """A copy of nested containers with one change."""
    if isinstance(tree, np.ndarray) and tree.dtype != object:
        return change_array(tree, rng)
    if isinstance(tree, dict) and tree and rng.random() < 0.95:
        changed, key = dict(tree), rng.choice(list(tree))
        kind = rng.random()
        if kind < 0.8:
            changed[key] = change(tree[key], rng)
        elif kind < 0.9:
            del changed[key]
        else:
            changed[rng.choice((f"{key}_", "x", *tree))] = changed.pop(key)
        return changed
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.95:
        changed, place = list(tree), rng.randrange(len(tree))
        kind = rng.random()
        if kind < 0.8:
            changed[place] = change(tree[place], rng)
        elif kind < 0.9:
            del changed[place]
        else:
            changed.insert(rng.randrange(len(tree) + 1), copy.deepcopy(tree[place]))
        return changed
    return rng.choice((*NUMBERS, *JUNK[:11]))


def changes(tree: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = change(tree, rng)
    return tree
