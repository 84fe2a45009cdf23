"""The arrays in a body model's file, checked to be those of a person: shapes, numbers, joint tree, units and shares.

Shapes: V vertices, J joints, K points of a regressor.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MODEL_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_LONGEST = (0.4, 2.6)  # metres, from an infant to more than any adult: the longest side of a body at rest
_FARTHEST = 2.0  # metres that a unit of a beta or of a rotation's entry may move a vertex; SMPL's are below 0.2
_SHARES = 0.05  # by which shares of 1 may miss it together; published ones do by 1e-6
_SMALLEST = 24  # vertices: smaller meshes only show the format


def checked_arrays(
    contents: Mapping[str, Any],
    path: Path,
    model: str,
    parents: tuple[int, ...],
    others: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of `MODEL_KEYS`, and others, of a file.

    Args:
        contents: of the file, by SMPL's names.
        path: of the file, for messages.
        model: name of the model, for messages.
        parents: of its joints.
        others: further arrays that it must have, and their shapes.

    Raises:
        ValueError: one is missing, has another shape, or is not what it must be; the message names it.
    """
    others = others or {}
    missing = [key for key in (*MODEL_KEYS, *others) if contents.get(key) is None]
    if missing:
        raise ValueError(f"{path} is not a complete {model} model: it lacks {', '.join(missing)}.")
    arrays = {key: as_array(contents[key], f"{key} in {path}") for key in (*MODEL_KEYS, *others)}
    num_joints, num_vertices = len(parents), arrays["v_template"].size // 3
    expected: dict[str, tuple[int, ...]] = {
        "v_template": (num_vertices, 3),
        "shapedirs": (num_vertices, 3, arrays["shapedirs"].size // max(arrays["v_template"].size, 1)),
        "posedirs": (num_vertices, 3, 9 * (num_joints - 1)),
        "J_regressor": (num_joints, num_vertices),
        "weights": (num_vertices, num_joints),
        "kintree_table": (2, num_joints),
        "f": (arrays["f"].size // 3, 3),
        **others,
    }
    for key, shape in expected.items():
        array = arrays[key]
        if array.shape != shape or array.dtype.kind not in "fiu" or not array.size:
            raise ValueError(f"{key} in {path} is {array.dtype} {array.shape}; {model} needs numbers of shape {shape}.")
        if not is_finite(array):
            raise ValueError(f"{key} in {path} has values that are not finite: the file is damaged.")
    table = arrays["kintree_table"]
    # The file's root has no parent: 2^32 - 1, or -1.
    if tuple(table[0, 1:].tolist()) != parents[1:] or tuple(table[1].tolist()) != tuple(range(num_joints)):
        found = ", ".join(f"{number:g}" for number in table[0, 1:].tolist())
        raise ValueError(f"The joint tree in {path} is not {model}'s: the parents are {found}, or out of order.")
    faces = arrays["f"]
    if faces.min() < 0 or faces.max() >= num_vertices or (faces != np.floor(faces)).any():
        raise ValueError(f"Faces in {path} refer to vertices that do not exist: the file is damaged.")
    check_units(arrays, path)
    if num_vertices >= _SMALLEST:
        check_shares(arrays["weights"], f"weights in {path}")
        check_shares(arrays["J_regressor"], f"J_regressor in {path}")
    return arrays


def as_array(value: Any, name: str) -> np.ndarray:
    """A value of a file as an array; raises ValueError with its name for lists of unequal lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is not an array: the file is damaged.") from None


def is_finite(array: np.ndarray) -> bool:
    """Whether all values of an array of numbers are finite in single precision."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(np.float32)).all())


def check_units(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Raises ValueError unless a model's arrays, under SMPL's keys, are those of a person in metres."""
    longest = float(np.ptp(arrays["v_template"], axis=0).max())
    if not _LONGEST[0] <= longest <= _LONGEST[1]:
        raise ValueError(
            f"The body in {path} is {longest:.4g} m large at rest: its v_template must be in metres, not in "
            "millimetres, centimetres or another unit."
        )
    for key in ("shapedirs", "posedirs"):
        largest = float(np.abs(arrays[key]).max(initial=0))
        if largest > _FARTHEST:
            raise ValueError(f"{key} in {path} moves vertices by up to {largest:.4g} m: it must be in metres.")
    for key in ("weights", "J_regressor"):
        if np.abs(arrays[key]).max() > 1.01:
            raise ValueError(f"{key} in {path} has values up to {np.abs(arrays[key]).max():.4g}: they are shares of 1.")


def check_shares(rows: np.ndarray, name: str) -> None:
    """Raises ValueError unless each row (K, V) of finite numbers sums to 1.

    Otherwise its points are scaled towards the origin or away from it, without a word.
    """
    sums = rows.astype(np.float64).sum(1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > _SHARES:
        raise ValueError(
            f"{name} has a row, {worst}, of {sums[worst]:.4g} in sum, but rows are shares of 1: it is damaged."
        )
