"""Contents of .pkl, .npz and .npy files as plain arrays, without running code from them, without chumpy or scipy.

SMPL's own files are Python 2 pickles whose arrays are inside chumpy objects and old scipy.sparse matrices; later ones
have pickled objects inside npz files. All of these become NumPy arrays; what cannot be evaluated becomes None.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import IO, Any

import numpy as np

from hmr_jax.io import npy, safe_pickle
from hmr_jax.io.safe_pickle import Opaque, opaque_class

_MAX_DEPTH = 16  # of chumpy expressions


def read_contents(path: str | Path) -> Any:
    """Reads a file, whose type is recognised by content: npy as an array, npz as a dictionary, a pickle as its object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of the three, is damaged, or would run code.
    """
    path = path if isinstance(path, PurePath) else Path(path)  # a path of epath may be in a cloud
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if start.startswith(b"PK"):
                return _read_npz(file)
            if start == b"\x93NUMPY":
                return _read_npy(file)
            return evaluate(safe_pickle.load(file, _resolve))
    except safe_pickle.RefusedPickleError as error:
        raise safe_pickle.RefusedPickleError(f"{path} was not read: {error}") from None
    except Exception as error:  # damage can surface anywhere: in zip, zlib, NumPy or the indices of a matrix
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{path} is not a readable .pkl, .npz or .npy file: {reason}. If it should be "
            "one, it is damaged or cut off: fetch it again."
        ) from error


def evaluate(item: Any, depth: int = 0) -> Any:
    """Replaces chumpy and scipy.sparse stand-ins by dense arrays, and objects without a value in the file by None."""
    if depth > _MAX_DEPTH:
        raise ValueError("Objects are nested too deeply.")
    if isinstance(item, dict):
        return {str(key): evaluate(value, depth + 1) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [evaluate(value, depth + 1) for value in item]
    if isinstance(item, np.ndarray):
        if item.dtype == object and item.ndim == 0:  # how np.save wraps an object
            return evaluate(item.item(), depth + 1)
        return np.asarray(item)
    if isinstance(item, Opaque):
        state = item.state if isinstance(item.state, dict) else {}
        if item.class_name.startswith("scipy.sparse"):
            return _dense(item)
        return _chumpy_value(state, item.class_name.rpartition(".")[2], depth)
    return item


def _chumpy_value(state: dict, kind: str, depth: int) -> np.ndarray | None:
    """Value of the few chumpy classes that hold data; computed ones, such as v_posed, are not needed."""

    def child(key: str) -> np.ndarray:
        return np.asarray(evaluate(state[key], depth + 1))

    if kind == "Select" and {"a", "idxs"} <= state.keys():
        return child("a").ravel()[child("idxs")].reshape(evaluate(state.get("preferred_shape", -1), depth + 1))
    if kind == "transpose" and "a" in state:
        return np.transpose(child("a"), state.get("axes"))
    if kind == "reshape" and {"a", "newshape"} <= state.keys():
        return child("a").reshape(state["newshape"])
    return child("x") if "x" in state else None


_LARGEST = 2**29  # entries of a dense matrix; SMPL-X's map has 2^26
_SPARSE = ("csc", "csr", "coo", "lil", "dok", "bsr", "dia")


def _dense(matrix: Any) -> np.ndarray:
    """The array of a sparse matrix of scipy in any layout."""
    state = matrix.state if isinstance(matrix.state, dict) else {}
    shape = tuple(int(size) for size in (state["_shape"] if "_shape" in state else state["shape"]))
    rows, columns, values = _entries(matrix, state, shape)
    if len(values) and min(rows.min(), columns.min()) < 0:
        raise ValueError("a sparse matrix has negative indices.")
    if math.prod(shape) > _LARGEST:
        raise ValueError(f"a sparse matrix has the shape {shape}, which would fill the memory.")
    dense = np.zeros(shape, values.dtype)
    np.add.at(dense, (rows, columns), values)
    return dense


def _entries(matrix: Any, state: dict, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the entries of a sparse matrix."""
    layout = matrix.class_name.rpartition(".")[2][:3]
    if layout == "dok":  # a dictionary with pairs of indices as keys: the object itself, or since scipy 1.13 in it
        entries = state.get("_dict", matrix.items)
        places = np.array(list(entries), np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1], np.array(list(entries.values()))
    if layout == "lil":  # lists of columns and of values for each row
        lists = [[np.asarray(part) for part in state[key]] for key in ("rows", "data")]
        columns, values = (np.concatenate([np.zeros(0, np.int8), *parts]) for parts in lists)
        return np.repeat(np.arange(len(lists[0])), [len(part) for part in lists[0]]), columns.astype(np.int64), values
    values = np.asarray(state["data"])
    if layout == "coo":
        rows, columns = state["coords"] if "coords" in state else (state["row"], state["col"])
        return np.asarray(rows), np.asarray(columns), values
    if layout == "dia":  # diagonals by their offset from the main one, aligned by column
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        rows = columns - np.asarray(state["offsets"])[:, None]
        inside = (rows >= 0) & (rows < shape[0]) & (columns < shape[1])
        return rows[inside], columns[inside], values[inside]
    counts = np.diff(np.asarray(state["indptr"]))
    outer, inner = np.repeat(np.arange(len(counts)), counts), np.asarray(state["indices"])
    if layout == "bsr":  # blocks instead of numbers
        height, width = values.shape[1:]
        rows = outer[:, None, None] * height + np.arange(height)[:, None]
        columns = inner[:, None, None] * width + np.arange(width)
        rows, columns = (np.broadcast_to(places, values.shape).ravel() for places in (rows, columns))
        return rows, columns, values.ravel()
    return (inner, outer, values) if layout == "csc" else (outer, inner, values)


def _resolve(module: str, name: str) -> type[Opaque] | None:
    sparse = module.startswith("scipy.sparse") and name[:3] in _SPARSE
    if sparse and name.startswith("dok"):
        return type("Dictionary", (_Dictionary,), {"class_name": f"{module}.{name}"})
    if module.split(".")[0] == "chumpy" or sparse:
        return opaque_class(f"{module}.{name}")
    return None


class _Dictionary(Opaque):
    """Stand-in for an object that is a dictionary."""

    items: dict

    def __new__(cls, items: Any = ()) -> "_Dictionary":
        made: Any = super().__new__(cls)
        made.items = dict(items)
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value


def read_plain_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads an npz file of plain arrays, see `plain_arrays`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file, is damaged, or holds pickled objects.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            return plain_arrays(file)
    except _ObjectsError as error:
        raise ValueError(
            f"'{error.name}' in {path} holds objects of Python, such as texts of h5py: save plain arrays, texts with "
            "astype(str)."
        ) from None
    except Exception as error:  # as in `read_contents`
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{path} is not a readable npz file: {reason}. If it should be one, it is damaged or cut off: fetch or "
            "write it again."
        ) from error


def plain_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The arrays of an npz file without pickled objects; raises exceptions of many classes for what it cannot read.

    Each array is compared with its checksum. `numpy.load` does not where a damaged header asks for less than all of it.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, data in _members(file):
        header = npy.read_header(data)
        if header.dtype.hasobject:
            raise _ObjectsError(name)
        arrays[name] = npy.read_data(data, header)
    return arrays


class _ObjectsError(Exception):
    """An array holds objects."""

    def __init__(self, name: str):
        super().__init__(f"'{name}' holds objects of Python.")
        self.name = name


def _read_npz(file: Any) -> dict[str, Any]:
    return {name: _read_npy(data) for name, data in _members(file)}


def _members(file: Any) -> Iterator[tuple[str, io.BytesIO]]:
    """Names and contents of the arrays in an archive, of which there must be some."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        file.seek(-22, io.SEEK_END)
        end = file.read()  # of the archive, unless a comment follows; zipfile does not compare the number in it
        if end.startswith(b"PK\5\6") and int.from_bytes(end[10:12], "little") not in (len(names), 0xFFFF):
            raise ValueError("its list of arrays is damaged.")
        found = [name for name in names if name.endswith(".npy")]
        if not found:
            raise ValueError("it is a zip archive without arrays.")
        if len(set(found)) < len(found):
            raise ValueError("it has several arrays of one name.")
        for name in names:
            # Whole and every one, since zipfile compares names and checksums then only: a damaged header may ask for
            # less, and a damaged name may lack its suffix.
            data = archive.read(name)
            if name.endswith(".npy"):
                yield name.removesuffix(".npy"), io.BytesIO(data)


def _read_npy(file: Any) -> Any:
    """Reads one npy stream; an object array passes the same allow list as a pickle."""
    header = npy.read_header(file)
    if header.dtype.hasobject:
        return evaluate(safe_pickle.load(file, _resolve))
    return npy.read_data(file, header)
