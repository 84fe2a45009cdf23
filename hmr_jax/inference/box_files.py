"""Files of boxes as detectors and annotators write them: COCO's JSON, YOLO's text files, tables and NumPy archives.

Each reader returns {name of an image: its boxes (n, 4) left, top, right, bottom in px}. Boxes of other classes than
people are left out. A layout is recognised by what no other has, or refused.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.io.images import upright_size
from hmr_jax.io.json_files import load_json
from hmr_jax.io.research_files import read_plain_npz

Table = dict[str, Any]
SUFFIXES = (".json", ".csv", ".npz", ".txt")
"""Of files of boxes."""
_PERSON = 1  # COCO's number of people, where a file names no categories
_YOLO_PERSON = 0
# Headers of tables that say where a box is: corners, or a corner and sizes.
_CORNERS = (
    ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
_NAMES = ("file", "filename", "file_name", "image", "image_name", "name", "path")


def read_table(path: Path, images: Sequence[Path]) -> tuple[Table, bool]:
    """Boxes by image of a file, or of a folder with YOLO's text files; and whether images may be missing in it.

    Detectors write nothing for an image in which they find nobody, so in their files images may be missing.

    Args:
        path: .json, .csv, .npz, .txt, or a folder.
        images: whose boxes are wanted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has none of the known layouts.
    """
    if path.is_dir():
        return _yolo_folder(path, images), True
    if not path.is_file():
        raise FileNotFoundError(f"There is no box file {path}.")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _json(path, images)
    if suffix == ".csv":
        return _csv(path), True
    if suffix == ".npz":
        return _npz(path), False
    if suffix == ".txt" and len(images) == 1:
        return {str(images[0].absolute()): _yolo(path, images[0])}, False
    raise ValueError(f"{path} is no file of boxes: give .json, .csv, .npz, or a folder of YOLO's .txt files.")


def _json(path: Path, images: Sequence[Path]) -> tuple[Table, bool]:
    contents = load_json(path)
    if isinstance(contents, dict) and isinstance(contents.get("annotations"), list) and "images" in contents:
        return _coco_data_set(path, contents), False
    if isinstance(contents, list) and contents and all(isinstance(row, dict) and "bbox" in row for row in contents):
        return _coco_results(path, contents, images), True
    if isinstance(contents, list) and len(images) == 1:
        contents = {images[0].name: contents}
    if not isinstance(contents, dict):
        raise ValueError(
            f"{path} must hold {{file name: [[x0, y0, x1, y1], ...]}}, or be a data set or results of COCO."
        )
    return contents, False


def _coco_data_set(path: Path, contents: Mapping[str, Any]) -> Table:
    try:
        names = {image["id"]: str(image["file_name"]) for image in contents["images"]}
        people = {row["id"] for row in contents.get("categories", ()) if row["name"] == "person"} or {_PERSON}
        table: Table = {name: [] for name in names.values()}
        for row in contents["annotations"]:
            if row.get("category_id", min(people)) in people and not row.get("iscrowd"):
                table[names[row["image_id"]]].append(_corners_of_sizes(row["bbox"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a data set in COCO's format: {type(error).__name__} {error}.") from None
    return table


def _coco_results(path: Path, rows: Sequence[Mapping[str, Any]], images: Sequence[Path]) -> Table:
    by_id = image_of_id(path, images)
    table: Table = {}
    try:
        for row in rows:
            shown = by_id.get(row["image_id"])
            if shown is not None and row.get("category_id", _PERSON) == _PERSON:
                table.setdefault(str(shown.absolute()), []).append(_corners_of_sizes(row["bbox"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold results of COCO: {type(error).__name__} {error}.") from None
    if not table:
        raise ValueError(f"{path} has no people in any of the images; image_id must be the number in a file's name.")
    return table


def image_of_id(path: Path, images: Sequence[Path]) -> dict[Any, Path]:
    """Images by the image_id of COCO's results: the number that ends the names of COCO's files, or file name or stem.

    Raises:
        ValueError: two images have the same; `path` is named.
    """
    by_id: dict[Any, Path] = {}
    for image in images:
        digits = image.stem.rpartition("_")[2]
        ids: list[Any] = [image.name, image.stem] + ([int(digits)] if digits.isdecimal() else [])
        for own in ids:
            if (other := by_id.setdefault(own, image)) != image:
                raise ValueError(f"{path}: image_id {own} could be {other} or {image}; give a table by file names.")
    return by_id


def _corners_of_sizes(box: Any) -> list[float]:
    left, top, width, height = (float(number) for number in box)
    return [left, top, left + width, top + height]


def _csv(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of text ({error}).") from None
    header = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    name = next((header[name] for name in _NAMES if name in header), None)
    corners = [columns for columns in _CORNERS if set(columns) <= set(header)]
    sizes = [columns for columns in _SIZES if set(columns) <= set(header)]
    if name is None or len(corners) + len(sizes) != 1:
        raise ValueError(
            f"{path} needs a header with 'file' and either left,top,right,bottom or x,y,w,h; it has "
            f"{', '.join(header) or 'none'}."
        )
    table: Table = {}
    for number, row in enumerate(rows, start=2):
        try:
            box = [float(row[header[column]]) for column in (corners or sizes)[0]]
        except (TypeError, ValueError):
            raise ValueError(f"Line {number} of {path} does not hold four numbers.") from None
        table.setdefault(row[name].strip(), []).append(box if corners else _corners_of_sizes(box))
    return table


def _npz(path: Path) -> Table:
    try:
        return dict(read_plain_npz(path))
    except ValueError as error:
        raise ValueError(f"{error} It should hold an array (n, 4) for each file name.") from None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a file of text ({error}).") from None


def _yolo_folder(folder: Path, images: Sequence[Path]) -> Table:
    table = {}
    for image in images:
        file = folder / f"{image.stem}.txt"
        if file.is_file():
            table[str(image.absolute())] = _yolo(file, image)
    if not table:
        raise ValueError(f"{folder} holds no {images[0].stem}.txt or other text file of YOLO for any of the images.")
    return table


def _yolo(path: Path, image: Path) -> list[list[float]]:
    """Rows of class, centre and size in shares of the image, and perhaps a score."""
    width, height = upright_size(image)
    boxes = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            values = [float(part) for part in line.split()]
        except ValueError:
            values = [np.nan]
        if not values:
            continue
        if len(values) not in (5, 6) or not all(0 <= value <= 1.001 for value in values[1:5]):
            raise ValueError(f"Line {number} of {path} is not YOLO's: class, centre x and y, width, height as shares.")
        if values[0] == _YOLO_PERSON:
            x, y, w, h = values[1:5]
            boxes.append([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height])
    return boxes


def read_mot(path: Path) -> dict[int, np.ndarray]:
    """Boxes (n, 4) by frame, from 0, of a text file of MOT Challenge.

    Raises:
        ValueError: it is none.
    """
    frames: dict[int, list[list[float]]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = [float(part) for part in line.split(",")]
        except ValueError:
            values = []
        if len(values) < 6 or values[0] < 1 or values[0] % 1:
            raise ValueError(
                f"Line {number} of {path} is not MOT Challenge's: frame, id, left, top, width, height, ..."
            )
        frames.setdefault(int(values[0]) - 1, []).append(_corners_of_sizes(values[2:6]))
    return {frame: np.array(boxes) for frame, boxes in frames.items()}
