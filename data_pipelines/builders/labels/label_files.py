"""Files that hold labels, as data sets come in them: pickles of which nothing is run, JSON, and HDF5.

MATLAB 7.3 and the stacked hourglass write HDF5.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from etils import epath

from hmr_jax.io import safe_pickle

Read = Callable[..., np.ndarray]


def read_pickle(path: epath.Path, needed: Iterable[str], what: str) -> dict[str, Any]:
    """The dict of a pickle.

    Args:
        path: of the file.
        needed: keys that it must have.
        what: names the contents in messages, such as "a sequence of 3DPW".

    Raises:
        ValueError: the file is damaged, asks for what is not allowed, or lacks a key.
    """
    try:
        with path.open("rb") as file:
            labels = safe_pickle.load(file)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    return part_with(labels, needed, f"{path} is not {what}")


def part_with(labels: Any, needed: Iterable[str], refusal: str) -> dict[str, Any]:
    """The labels, if they are a dict with the needed keys.

    Raises:
        ValueError: they are not; the message begins with `refusal`.
    """
    missing = [name for name in needed if not isinstance(labels, dict) or name not in labels]
    if missing:
        raise ValueError(f"{refusal}: it lacks {', '.join(missing)}.")
    return labels


def read_json(path: epath.Path, what: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The contents of a JSON file.

    Args:
        path: of the file.
        what: names the contents in messages, such as "a file of COCO keypoints".
        object_hook: see `json.load`; it must not raise.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        with path.open("r") as file:
            return json.load(file, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not {what}: {error}.") from None


@contextmanager
def open_hdf5(path: epath.Path, what: str) -> Iterator[Read]:
    """Opens an HDF5 file; what it gives reads an array of it, or the rows `start` to `stop` - 1 of one.

    Args:
        path: of the file.
        what: names the contents in messages, such as "an annot_data.mat of MPI-INF-3DHP".

    Raises:
        ValueError: it is not an HDF5 file or damaged, or lacks an array that is read.
    """
    import h5py

    def read(name: Any, start: int | None = None, stop: int | None = None) -> np.ndarray:
        """Args: name or reference of the array, and rows; None: all of them."""
        try:
            found = file[name]
            if isinstance(found, h5py.Dataset):
                rows: Any = slice(start, stop) if start is not None or stop is not None else ()
                return np.asarray(found[rows])
        except Exception as error:  # damage shows in h5py and HDF5, in several classes
            raise ValueError(f"{path} is not {what}: '{name}' cannot be read ({_in_one_line(error)}).") from None
        raise ValueError(f"{path} is not {what}: '{name}' is no array.")

    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    with raw:
        try:
            file = h5py.File(raw, "r")
        except Exception as error:
            raise ValueError(f"{path} is not {what}: {_in_one_line(error)}.") from None
        with file:
            yield read


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
