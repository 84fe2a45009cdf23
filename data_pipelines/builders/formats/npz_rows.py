"""Labels in npz files, one array a column: read by ranges of rows, as a file of a million people may not fit in memory.

Numbers and text are read as NumPy stores them; arrays of objects go through the whitelist reader of pickles.

Shapes: N people, K points.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.labels.label_arrays import Shape, numbers
from hmr_jax.io import npy, safe_pickle

BLOCK_ROWS = 1000
"""People in a block."""
_FLAG: tuple[Shape, ...] = ((), (1,))
_POSE: tuple[Shape, ...] = ((72,), (24, 3))
SHAPES: dict[str, tuple[Shape, ...]] = {
    "center": ((2,),), "scale": ((), (1,), (2,)), "pose": _POSE, "body_pose": _POSE, "pose_cam": ((-66,),),
    "shape": ((-10,),), "betas": ((-10,),), "cam_int": ((3, 3),), "cam_ext": ((4, 4),), "cam_t": ((3,),),
    "trans_cam": ((3,),), "global_t": ((3,),), "focal_l": _FLAG, "gtkps": ((-22, 3),), "part": ((24, 3),),
    "openpose": ((25, 3),), "S": ((24, 4),), "body_keypoints_2d": ((25, 3),), "extra_keypoints_2d": ((19, 3),),
    "body_keypoints_3d": ((25, 4),), "extra_keypoints_3d": ((19, 4),), "has_smpl": _FLAG, "has_body_pose": _FLAG,
    "has_betas": _FLAG,
}  # fmt: skip
"""Column: the shapes that a row of its numbers can have."""
TEXTS = ("imgname", "gender")
"""Columns with one entry a row."""


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


def shapes(path: epath.Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of a file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged or no npz file.
    """
    with _archive(path) as archive:
        found = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = tuple(int(side) for side in npy.read_header(member).shape)
        return found


def check_columns(path: epath.Path, needed: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`shapes` of a file that has the needed arrays, all with the same number of rows.

    Raises:
        ValueError: one is missing, or lengths differ.
    """
    found = shapes(path)
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(found)) or 'nothing'}.")
    if flat := [name for name in needed if not found[name]]:
        raise ValueError(f"'{flat[0]}' of {path} has no rows.")
    lengths = {name: found[name][:1] for name in needed}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path} has arrays of different lengths: {lengths}.")
    return found


def read_rows(path: epath.Path, start: int, stop: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Rows `start` to `stop` - 1 of those arrays of `names` that the file has.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, holds objects that the whitelist refuses, or a column of other `SHAPES`.
    """
    rows, lengths = {}, {}
    with _archive(path) as archive:
        there = set(archive.namelist())
        for name in names:
            if f"{name}.npy" in there:
                with archive.open(f"{name}.npy") as member:
                    lengths[name], rows[name] = _rows(member, start, stop)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path} has arrays of different lengths: {lengths}.")
    for name, values in rows.items():
        if name in SHAPES:
            rows[name] = numbers(path, name, values, *((len(values), *shape) for shape in SHAPES[name]))
        elif name in TEXTS and values.ndim != 1:
            raise ValueError(f"'{name}' of {path} has the shape {values.shape}, not one entry a row.")
    return rows


def _rows(member: IO[bytes], start: int, stop: int) -> tuple[int, np.ndarray]:
    """The number of all rows, and some of them."""
    header = npy.read_header(member)
    if header.dtype.hasobject:
        values = np.asarray(safe_pickle.load(member))
        if values.shape != header.shape or not values.shape:
            raise ValueError(f"an array of objects is of the shape {values.shape}, not {header.shape}.")
        return len(values), values[start:stop]
    return (header.shape or (0,))[0], npy.read_rows(member, header, start, stop)


def finite_rows(rows: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """(N,) bool: whether all numbers of a row of these arrays are finite."""
    finite = [np.isfinite(np.asarray(rows[name], np.float64).reshape(len(rows[name]), -1)).all(1) for name in names]
    return np.all(finite, 0)


def row_blocks(path: epath.Path, rows: int, *more: str | int) -> list[Block]:
    """The blocks of a file with so many rows: (path, start, stop, *more)."""
    return [(str(path), start, min(start + BLOCK_ROWS, rows), *more) for start in range(0, rows, BLOCK_ROWS)]


def text(value: Any) -> str:
    """A name from an array of text, bytes or objects."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def box_of_row(labels: Mapping[str, np.ndarray], row: int, unit: int, aspect: float | None = None) -> dict[str, Any]:
    """Arguments of `cropping.crop_person` for the box of a row.

    Args:
        labels: "center" and "scale": one number for each row, or width and height.
        row: which.
        unit: px in a unit of "scale".
        aspect: width to height to which the box grows before it becomes a square, where one number counts as both, as
            in HMR2.0's evaluation; None: its larger side is that of the square.
    """
    scale = unit * np.asarray(labels["scale"][row], np.float64).reshape(-1)
    width, height = scale[[0, -1]]
    size = scale.max() if aspect is None else max(width, height, width / aspect, height * aspect)
    extent = {} if len(scale) == 1 and aspect is None else {"box_extent": (width, height)}
    return {"box_center": labels["center"][row], "box_size": float(size), **extent}


def scaled_blocks(
    path: epath.Path, needed: Sequence[str], keypoints: Sequence[str], unit: int, *more: str | int
) -> list[Block]:
    """The blocks of a file with boxes: (path, start, stop, unit, *more).

    Args:
        path: of the file.
        needed: arrays that it must have, "center" and "scale" among them.
        keypoints: arrays (N, K, 3) that it may have, by which the unit is found out.
        unit: px in a unit of "scale"; 0: found out by `scale_unit`.
        *more: to be appended to each block.

    Raises:
        ValueError: an array is missing, or the unit cannot be found out.
    """
    rows = check_columns(path, needed)["center"][0]
    if not unit:
        first = read_rows(path, 0, BLOCK_ROWS, ("scale", *keypoints))
        points = [first[name] for name in keypoints if name in first]
        unit = scale_unit(first["scale"], extent_of(np.concatenate(points, 1)) if points else None, path)
    return row_blocks(path, rows, unit, *more)


def scale_unit(scale: np.ndarray, extent: np.ndarray | None, where: object) -> int:
    """Pixels in one unit of a column "scale": 1 (HMR2.0's evaluation files) or 200 (SPIN's, BEDLAM's).

    Boxes are about as large as the people in them, so keypoints decide where there are any. Elsewhere the size does: no
    box is 4 px wide, and none 20 times 200 px.

    Args:
        scale: (N,) or (N, 2).
        extent: (N,) px of the larger side of each person's keypoints, 0 where unknown; or None.
        where: names the file in the message.

    Raises:
        ValueError: neither fits, or both could be.
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
