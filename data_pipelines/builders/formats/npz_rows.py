"""Flat npz label files read by ranges of rows, so that a file of a million people needs no memory for all of them.

Numbers and text are read as NumPy stores them; arrays of objects go through the whitelist reader of pickles.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block
from hmr_jax.io import safe_pickle

BLOCK_ROWS = 1000
"""People in a block."""
_CHUNK = 2**22


@contextmanager
def _archive(path: epath.Path) -> Iterator[zipfile.ZipFile]:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except safe_pickle.RefusedPickleError as error:
        raise safe_pickle.RefusedPickleError(f"{path} was not read: {error}") from None
    except Exception as error:  # damage shows in zip, zlib or NumPy, each with its own classes
        raise ValueError(f"{path} is not a readable npz file, or it is cut short: {error}") from error


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def shapes(path: epath.Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of a file.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is damaged or no npz file.
    """
    with _archive(path) as archive:
        found = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = tuple(int(side) for side in _header(member)[0])
        return found


def check_columns(path: epath.Path, needed: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """`shapes`, once it is sure that the needed arrays are there, each with as many rows.

    Raises:
        ValueError: One is missing, or lengths differ.
    """
    found = shapes(path)
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(found))}.")
    lengths = {name: found[name][:1] for name in needed}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path} has arrays of different lengths: {lengths}.")
    return found


def read_rows(path: epath.Path, start: int, stop: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Rows start .. stop - 1 of those arrays of `names` that the file has.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is damaged, or holds objects that the whitelist refuses.
    """
    with _archive(path) as archive:
        there = set(archive.namelist())
        rows = {}
        for name in names:
            if f"{name}.npy" in there:
                with archive.open(f"{name}.npy") as member:
                    rows[name] = _rows(member, start, stop)
        return rows


def _rows(member: Any, start: int, stop: int) -> np.ndarray:
    shape, fortran, dtype = _header(member)
    if dtype.hasobject:
        values = safe_pickle.load(member)
        return np.asarray(values)[start:stop]
    if not shape:
        raise ValueError("an array without rows.")
    if fortran and len(shape) > 1:
        data = member.read(dtype.itemsize * int(np.prod(shape)))
        return np.frombuffer(data, dtype).reshape(shape, order="F")[start:stop].copy()
    row = dtype.itemsize * int(np.prod(shape[1:]))
    skip = row * min(start, shape[0])
    while skip > 0:
        skipped = len(member.read(min(skip, _CHUNK)))
        if not skipped:
            raise ValueError("the array ends early.")
        skip -= skipped
    count = max(0, min(stop, shape[0]) - start)
    data = member.read(row * count)
    if len(data) < row * count:
        raise ValueError("the array ends early.")
    return np.frombuffer(data, dtype).reshape((count, *shape[1:])).copy()


def row_blocks(path: epath.Path, rows: int, *more: str | int) -> list[Block]:
    """(path, start, stop, *more) of each block of a file with so many rows."""
    return [(str(path), start, min(start + BLOCK_ROWS, rows), *more) for start in range(0, rows, BLOCK_ROWS)]


def text(value: Any) -> str:
    """A name from an array of text, bytes or objects."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def scale_unit(scale: np.ndarray, extent: np.ndarray | None, where: object) -> int:
    """Pixels in one unit of a column "scale": 1 (HMR2.0's evaluation files) or 200 (SPIN's, BEDLAM's).

    Boxes are about as large as the people in them, so where there are keypoints these decide; otherwise the size does:
    no box is 4 px wide, and none 20 times 200 px.

    Args:
        scale: (N,) or (N, 2).
        extent: (N,) px of the larger side of each person's keypoints, 0 where unknown; or None.
        where: Names the file in the message.

    Raises:
        ValueError: Neither fits, or both could be.
    """
    side = scale.reshape(len(scale), -1).max(1).astype(np.float64)
    seen = np.zeros(len(side), bool) if extent is None else extent > 1
    if seen.any() and extent is not None:
        ratio = float(np.median(side[seen] / extent[seen]))
        fits = [unit for unit in (1, 200) if 0.4 < unit * ratio < 6]
    else:
        ratio = float(np.median(side))
        fits = [1] if 20 < ratio < 10_000 else [200] if 0.02 < ratio < 15 else []
    if len(fits) != 1:
        raise ValueError(
            f"The unit of 'scale' in {where} is neither px nor 200 px (the median is {np.median(side):.4g}): check "
            "that boxes and keypoints belong to one another, or say it with the option scale_unit=1 or scale_unit=200."
        )
    return fits[0]


def extent_of(points: np.ndarray) -> np.ndarray:
    """(N, K, 3) px and confidence -> (N,) larger side of the tight box, 0 with fewer than two points."""
    seen = points[:, :, 2:] > 0
    low = np.where(seen, points[:, :, :2], np.inf).min(1)
    high = np.where(seen, points[:, :, :2], -np.inf).max(1)
    return np.where(seen.sum((1, 2)) > 1, (high - low).max(1), 0)


class ImageFinder:
    """Finds images by the names in label files; keeps the last one, as people of one image are neighbours."""

    def __init__(self, *roots: epath.Path):
        self._roots = roots
        self._last: tuple[str, Any] = ("", None)

    def __call__(self, name: str) -> Any:
        """The `cropping.SourceImage`.

        Raises:
            BadImage: It is no image, or there is no such file.
        """
        from data_pipelines.builders.labels.cropping import BadImage, SourceImage

        if self._last[0] != name:
            path = next((root / name for root in self._roots if (root / name).exists()), None)
            if path is None:
                raise BadImage("image: missing")
            self._last = (name, SourceImage(path))
        return self._last[1]
