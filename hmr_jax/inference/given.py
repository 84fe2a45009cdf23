"""What users give beside images: boxes of people and cameras, as text or files."""

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hmr_jax.geometry.boxes import as_boxes
from hmr_jax.inference.box_files import SUFFIXES, read_mot, read_table
from hmr_jax.inference.keypoint_files import read_keypoint_table
from hmr_jax.io.calibration import read_calibration
from hmr_jax.io.calibration.opencv import is_one as is_calibration
from hmr_jax.io.json_files import load_json

_FILES = (".json", ".yml", ".yaml", ".toml", ".txt", ".xml", ".qca")  # of intrinsics
Boxes = Sequence[np.ndarray] | Literal["whole"] | None
"""(n, 4) of every image; the whole of each image; or None: the people are found."""


def read_boxes(text: str, images: Sequence[Path]) -> Boxes:
    """Boxes of every image from "x0,y0,x1,y1" or the path of a file; "whole" for itself, and None for "".

    A JSON file holds {file name: [[x0, y0, x1, y1], ...]}, or only the list for a single image; `box_files` has the
    other layouts.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if boxes are missing or malformed.
    """
    if not text:
        return None
    if text == "whole":
        return "whole"
    path = Path(text)
    if not (path.suffix.lower() in SUFFIXES or path.is_dir()):
        numbers = [_parse_number(part, text) for part in text.split(",")]
        if len(numbers) != 4 or len(images) != 1:
            raise ValueError(f"--boxes {text}: give x0,y0,x1,y1 for one image, or a JSON file for several.")
        return [np.array([numbers])]
    table, may_miss = read_table(path, images)
    names = _names_in(table, images, text)
    missing = [path.name for path, name in zip(images, names, strict=True) if name is None]
    if missing and (not may_miss or len(missing) == len(images)):
        raise ValueError(f"{text} has no boxes for {', '.join(missing[:5])}; an empty list says that nobody is there.")
    if missing:
        warnings.warn(f"{text} has no boxes for {', '.join(missing[:5])}: nobody is there.", stacklevel=2)
    return [
        as_boxes([] if name is None else table[name], f"{text}: the boxes of {path.name}")
        for path, name in zip(images, names, strict=True)
    ]


def read_keypoints(text: str, images: Sequence[Path]) -> list[np.ndarray | None] | None:
    """Keypoints (n, 44, 3) of each image, px and confidence, from a file or folder; None for "".

    An image that the file does not name has None. The layouts are those of `keypoint_files`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is malformed, or has keypoints of none of the images.
    """
    if not text:
        return None
    table = read_keypoint_table(Path(text), images)
    names = _names_in(table, images, text)
    if not any(name is not None for name in names):
        raise ValueError(f"{text} has no keypoints of any of the images.")
    return [None if name is None else table[name] for name in names]


def read_video_boxes(text: str) -> dict[int, np.ndarray] | None:
    """Boxes of a video by frame, numbered from 0; None for "", where the people are found.

    The file is JSON, {frame number: [[x0, y0, x1, y1], ...]} or a list with the boxes of each frame, or text of MOT
    Challenge: rows of frame (from 1), identity, left, top, width, height and more.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is something else.
    """
    if not text:
        return None
    path = Path(text)
    if path.suffix.lower() not in (".json", ".txt"):
        raise ValueError(f"--boxes {text}: give a .json file, or a .txt file of MOT Challenge, for a video.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no box file {text}.")
    if path.suffix.lower() == ".txt":
        return read_mot(path)
    contents = load_json(path)
    if isinstance(contents, list):
        contents = dict(enumerate(contents))
    if not isinstance(contents, dict) or not all(str(number).isdecimal() for number in contents):
        raise ValueError(f"{text} must hold {{frame number: [[x0, y0, x1, y1], ...]}}, or a list for all frames.")
    return {int(number): as_boxes(rows, f"{text}: the boxes of frame {number}") for number, rows in contents.items()}


def _names_in(table: Mapping[str, Any], images: Sequence[Path], source: str) -> list[str | None]:
    """The name of each image in a table: as much of the end of its path as it states, or its absolute path."""
    by_parts: dict[tuple[str, ...], str] = {}
    for name in table:
        other = by_parts.setdefault(_parts(Path(name)), name)
        if other != name:
            raise ValueError(f"{source}: '{other}' and '{name}' are the same file.")
    names: list[str | None] = []
    for path in images:
        parts = _parts(path.absolute())
        names.append(next((by_parts[end] for i in range(len(parts)) if (end := parts[i:]) in by_parts), None))
    users: dict[str, Path] = {}
    for path, used in zip(images, names, strict=True):
        if used is not None and (other_path := users.setdefault(used, path)) != path:
            raise ValueError(f"{source}: '{used}' could be {other_path} or {path}; state the folder, too.")
    return names


def _parts(path: Path) -> tuple[str, ...]:
    """Of a path, with its accents composed: file systems and editors write them in two ways."""
    return Path(unicodedata.normalize("NFC", str(path))).parts


def _parse_number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise ValueError(f"'{part.strip()}' in '{text}' is not a number.") from None


def read_intrinsics(text: str, images: Sequence[Path]) -> Any:
    """Intrinsics for `Predictor` from "fx,fy,cx,cy" for all images, or the path of a file; None for "".

    A JSON file may hold {file name: [fx, fy, cx, cy], a 3x3 matrix, or {"matrix": ..., "distortion": [...]}}. Images
    that it does not name have none. Any other file is a calibration, see `hmr_jax.io.calibration`, of one camera, which
    took all images; of several, "FILE#NAME" says which.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for anything else.
    """
    if not text:
        return None
    file, _, name = text.partition("#")
    if not (Path(text).suffix.lower() in _FILES or Path(file).suffix.lower() in _FILES or Path(file).is_dir()):
        numbers = [_parse_number(part, text) for part in text.split(",")]
        if len(numbers) != 4:
            raise ValueError(f"--intrinsics {text}: give four numbers, fx,fy,cx,cy, in pixels.")
        return np.array(numbers)
    if Path(text).exists():  # its name may have a "#"
        file, name = text, ""
    if not Path(file).exists():
        raise FileNotFoundError(f"There is no file of intrinsics {file}.")
    table = load_json(Path(file)) if file.lower().endswith(".json") else None
    by_file = isinstance(table, dict) and any(Path(name).suffix for name in table)
    if table is not None and (by_file or not is_calibration(table)):
        if not isinstance(table, dict):
            raise ValueError(f"{file} must hold {{file name: [fx, fy, cx, cy]}}, or cameras with a camera_matrix.")
        names = _names_in(table, images, file)
        if not any(names):
            raise ValueError(f"{file} has no intrinsics of any of the images.")
        return [None if name is None else table[name] for name in names]
    cameras = {camera.name: camera for camera in read_calibration(file)}
    if not name and len(cameras) == 1:
        return next(iter(cameras.values()))
    if name not in cameras:
        wrong = f"no camera '{name}'" if name else f"{len(cameras)} cameras"
        raise ValueError(f"{file} has {wrong}: give {file}#NAME with one of {', '.join(cameras)}.")
    return cameras[name]
