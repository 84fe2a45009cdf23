"""From an image and a person's labels in its pixels to the square that a record stores.

The square is larger than the person's box by a margin, has a limited number of pixels and is black outside the image.
Whole numbers are pixel centres before and after. A JPEG much larger than the square is decoded at a half, a quarter or
an eighth, which takes a fraction of the time.

Shapes: H, W image in the orientation of its labels, n side of the square in px of the image, S side as stored.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines import records
from data_pipelines.builders.labels.source_images import BadImage, SourceImage
from data_pipelines.records import Record
from data_pipelines.records.validation import FOCAL_NOT_IN_PX
from hmr_jax.geometry.intrinsics import FOCAL_RANGE

MARGIN = 1.8
"""Side of the square in units of the box: HMR2.0's largest box, 1.3, stays inside when rotated by up to 22 degrees."""
LIMIT = 512
"""Largest S."""
LEAST = 16.0
"""Side of a box in px where labels give one without extent."""
FARTHEST = 4
"""A square of more than this many times the image's longer side is an error of the labels."""
LARGEST = 1000
"""Of such squares, the largest that are cut at all, and of those outside the image the farthest."""
_MOVED = (
    "box_center",
    "box_size",
    "box_extent",
    "keypoints_2d",
    "intrinsics",
    "mask",
    "depth",
)  # labels that `crop_person` takes


def crop_person(
    image: SourceImage,
    *,
    box_center: np.ndarray,
    box_size: float,
    keypoints_2d: np.ndarray,
    intrinsics: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    box_extent: np.ndarray | None = None,
    margin: float = MARGIN,
    limit: int = LIMIT,
    keep_doubtful: bool = False,
) -> dict[str, Any]:
    """Cuts a person out and moves the labels along.

    Args:
        image: the whole image.
        box_center: (2,) px.
        box_size: side of the square box, px.
        keypoints_2d: (44, 3) px and confidence.
        intrinsics: (3, 3) px.
        mask: (H, W), not 0 on the person.
        depth: (H, W) float, 0 = nothing seen.
        box_extent: (2,) width and height of the box that became the square one, px.
        margin: side of the square in units of the box.
        limit: largest S.
        keep_doubtful: cut even where the box is far too large, does not lie in the image (all is black then) or is a
            point (a box of `LEAST` px then), and say so in "doubt".

    Returns:
        Arguments of `records.encode`: image (S, S, 3) uint8, source_box, source_size, the labels in px of the stored
        square, and "doubt" where there is one.

    Raises:
        BadImage: the image cannot be decoded, or the box does not lie in it.
    """
    center, doubt = np.asarray(box_center, np.float64), ""
    if not (np.isfinite(center).all() and np.isfinite(box_size)) or (box_size < 1 and not keep_doubtful):
        raise BadImage("box: empty or not finite")
    if box_size < 1:
        box_size, doubt = LEAST, "box: empty"
    if margin * box_size > FARTHEST * max(image.width, image.height):
        if not keep_doubtful or margin * box_size > LARGEST * max(image.width, image.height):
            raise BadImage("box: far larger than the image")
        doubt = "box: far larger than the image"
    reach = margin * box_size / 2
    if (center + reach < 0).any() or (center - reach > (image.width, image.height)).any():
        if not keep_doubtful or np.abs(center).max() > LARGEST * max(image.width, image.height):
            raise BadImage("box: outside the image")
        doubt = doubt or "box: outside the image"

    scale = image.scale_for(margin * box_size, limit)
    side = int(np.ceil(margin * box_size / scale))  # n, in px of the image as decoded
    left, top = np.rint((center + 0.5) / scale - side / 2).astype(int)
    size = min(side, limit)
    square = _square(image.decoded(scale), int(left), int(top), side, size)
    left, top, side = left * scale, top * scale, side * scale
    origin, factor = np.array([left, top]), size / side

    moved: dict[str, Any] = {
        "image": np.asarray(square),
        "box_center": _move(center, origin, factor),
        "box_size": box_size * factor,
        "source_box": np.array([left, top, left + side, top + side]),
        "source_size": np.array([image.width, image.height]),
    }
    if doubt:
        moved["doubt"] = doubt
    points = np.array(keypoints_2d, np.float64)
    seen = points[:, 2] > 0
    points[:, :2] = np.where(seen[:, None], _move(points[:, :2], origin, factor), 0)
    moved["keypoints_2d"] = points
    if box_extent is not None:
        moved["box_extent"] = np.asarray(box_extent, np.float64) * factor
    if intrinsics is not None:
        camera = np.array(intrinsics, np.float64)
        camera[:2] *= factor
        camera[:2, 2] = _move(np.asarray(intrinsics)[:2, 2], origin, factor)
        moved["intrinsics"] = camera
    for name, values in (("mask", mask), ("depth", depth)):
        if values is not None:
            if values.shape != (image.height, image.width):
                raise BadImage(f"{name}: not of the image's size")
            moved[name] = _nearest(values, origin, factor, size)
    return moved


def person_record(
    image: SourceImage,
    *,
    key: str,
    dataset: str,
    margin: float = MARGIN,
    limit: int = LIMIT,
    doubt: str = "",
    keep_doubtful: bool = False,
    estimated_depth: Callable[[SourceImage, np.ndarray, int], dict[str, Any]] | None = None,
    **labels: Any,
) -> Record | str:
    """The record of a person in an image, or, where the image cannot be used, the reason.

    Args:
        image: the whole image.
        key: unique name in the data set.
        dataset: name of the data set.
        margin: side of the square in units of the box.
        limit: largest side as stored, px.
        doubt: why the labels may be wrong; "": there is no doubt.
        keep_doubtful: see `crop_person`.
        estimated_depth: makes the arguments of `records.encode` for the depth from the image, the square in it and the
            side as stored.
        **labels: arguments of `crop_person` in px of the image, and those of `records.encode` that a crop leaves as
            they are: keypoints_3d, pose, betas, translation, topology, gender, depth_kind, quality.
    """
    moved = {name: labels.pop(name) for name in _MOVED if name in labels}
    try:
        cropped = crop_person(image, margin=margin, limit=limit, keep_doubtful=keep_doubtful, **moved)
    except BadImage as error:
        return str(error)
    cropped["doubt"] = doubt or cropped.get("doubt", "")
    intrinsics, longer = moved.get("intrinsics"), max(image.width, image.height)
    if intrinsics is not None and np.diag(intrinsics)[:2].min() < FOCAL_RANGE[0] * longer:
        cropped["doubt"] = cropped["doubt"] or FOCAL_NOT_IN_PX
    if estimated_depth is not None:
        labels |= estimated_depth(image, cropped["source_box"], len(cropped["image"]))
    return records.encode(**cropped, key=key, dataset=dataset, **labels)


def _square(image: Image.Image, left: int, top: int, side: int, size: int) -> Image.Image:
    """A square of `side` px at (left, top), shrunk to `size` px, black outside the image."""
    if side <= FARTHEST * max(image.size):
        square = image.crop((left, top, left + side, top + side))
        return square if size == side else square.resize((size, size), Image.Resampling.LANCZOS)
    square, factor = Image.new("RGB", (size, size)), size / side  # the whole square would not fit into memory
    small = image.resize([max(1, round(length * factor)) for length in image.size], Image.Resampling.LANCZOS)
    square.paste(small, (round(-left * factor), round(-top * factor)))
    return square


def _move(points: np.ndarray, origin: np.ndarray, factor: float) -> np.ndarray:
    """(..., 2) px of the image -> px of the stored square whose upper left corner is `origin`."""
    return (points + 0.5 - origin) * factor - 0.5


def _nearest(values: np.ndarray, origin: np.ndarray, factor: float, size: int) -> np.ndarray:
    """(size, size) values at the centres of the stored pixels, 0 outside: depths and labels are never mixed."""
    steps = (np.arange(size) + 0.5) / factor
    columns, rows = (np.floor(steps + start).astype(int) for start in origin)
    inside = ((rows >= 0) & (rows < values.shape[0]))[:, None] & ((columns >= 0) & (columns < values.shape[1]))
    found = values[np.clip(rows, 0, values.shape[0] - 1)[:, None], np.clip(columns, 0, values.shape[1] - 1)]
    return np.where(inside, found, np.zeros((), values.dtype))
