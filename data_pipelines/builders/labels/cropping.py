"""From an image and a person's labels in its pixels to the square that a record stores.

The square is a margin larger than the person's box, at most so many pixels wide and black outside the image. Whole
numbers are pixel centres before and after. A JPEG much larger than the square is decoded at a half, a quarter or an
eighth, which costs a fraction of the time.

Shapes: H, W image as it is shown, n side of the square in px of the image, S side as stored.
"""

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath
from PIL import ExifTags, Image

from data_pipelines import records
from data_pipelines.records import Record

MARGIN = 1.8
"""Side of the square in units of the box: HMR2.0's largest box, 1.3, turned by up to 22 degrees, stays inside."""
LIMIT = 512
"""Largest S."""
FARTHEST = 4
"""Boxes whose square is larger than this many images are label errors."""


_Turn = Image.Transpose
_CLOCKWISE = {1: _Turn.ROTATE_270, 2: _Turn.ROTATE_180, 3: _Turn.ROTATE_90}
_AGAINST_EXIF = {
    2: _Turn.FLIP_LEFT_RIGHT, 3: _Turn.ROTATE_180, 4: _Turn.FLIP_TOP_BOTTOM, 5: _Turn.TRANSPOSE, 6: _Turn.ROTATE_90,
    7: _Turn.TRANSVERSE, 8: _Turn.ROTATE_270,
}  # fmt: skip


class BadImage(ValueError):
    """The image cannot be used; the message is a reason for a report."""


class SourceImage:
    """An image from which several people are cut: decoded once for each scale that they need."""

    def __init__(
        self,
        source: os.PathLike | bytes | np.ndarray,
        quarter_turns: int = 0,
        path: os.PathLike | None = None,
    ):
        """Decodes the header only.

        Args:
            source: An image file or its bytes (EXIF's orientation is not applied), or (H, W, 3) uint8.
            quarter_turns: Turns of 90 degrees clockwise by which the file has to be turned to fit its labels.
            path: Of the file, where `source` is its bytes.

        Raises:
            BadImage: It is not an image.
        """
        file = source if isinstance(source, os.PathLike) else path
        self.path = None if file is None else epath.Path(file)
        """Of the file; None: not known."""
        self._source = epath.Path(source).read_bytes() if isinstance(source, os.PathLike) else source
        self._turns, self._decoded = quarter_turns % 4, dict[int, Image.Image]()
        image = self._open()
        self._jpeg = isinstance(image, Image.Image) and image.format in ("JPEG", "MPO")
        width, height = image.size
        self.width, self.height = (height, width) if self._turns % 2 else (width, height)

    def decoded(self, scale: int) -> Image.Image:
        """The RGB image at 1 / scale; pixel i holds pixels [scale * i, scale * (i + 1)) of the original.

        Raises:
            BadImage: It is damaged or cut short.
        """
        if scale not in self._decoded:
            image = self._open()
            try:
                if scale > 1:
                    image.draft("RGB", (-(-image.width // scale), -(-image.height // scale)))
                image = image.convert("RGB")
            except (OSError, ValueError, SyntaxError) as error:
                raise BadImage("image: cannot be decoded") from error
            if self._turns:
                image = image.transpose(_CLOCKWISE[self._turns])
            self._decoded[scale] = image
        return self._decoded[scale]

    def turned(self, values: np.ndarray) -> np.ndarray:
        """A map of the file as EXIF's orientation shows it, such as its depth, turned to fit the labels."""
        turns = (
            _AGAINST_EXIF.get(self._open().getexif().get(ExifTags.Base.Orientation, 1)),
            _CLOCKWISE.get(self._turns),
        )
        for turn in turns:
            if turn is not None:
                values = np.asarray(Image.fromarray(values).transpose(turn))
        return values

    def scale_for(self, side: float, limit: int) -> int:
        """The coarsest of 1, 2, 4, 8 at which a square of `side` px still has `limit` px; 1 unless a JPEG."""
        exact = self._jpeg and (self._turns == 0 or (self.width % 8 == 0 and self.height % 8 == 0))
        return max((k for k in (1, 2, 4, 8) if exact and side / k >= limit), default=1)

    def _open(self) -> Image.Image:
        if isinstance(self._source, np.ndarray):
            return Image.fromarray(self._source)
        try:
            return Image.open(io.BytesIO(self._source))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadImage("image: cannot be read") from error


def crop_person(
    image: SourceImage,
    *,
    box_center: np.ndarray,
    box_size: float,
    keypoints_2d: np.ndarray,
    intrinsics: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    margin: float = MARGIN,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """Cuts a person out and moves the labels along.

    Args:
        image: The whole image.
        box_center: (2,) px.
        box_size: Side of the square box, px.
        keypoints_2d: (44, 3) px and confidence.
        intrinsics: (3, 3) px.
        mask: (H, W), not 0 on the person.
        depth: (H, W) float, 0 = nothing seen.
        margin: Side of the square in units of the box.
        limit: Largest S.

    Returns:
        Arguments of `records.encode`: image (S, S, 3) uint8, source_box, and the labels in px of the image.

    Raises:
        BadImage: The image cannot be decoded, or the box is no place in it.
    """
    center = np.asarray(box_center, np.float64)
    if not (np.isfinite(center).all() and np.isfinite(box_size)) or box_size < 1:
        raise BadImage("box: empty or not finite")
    if margin * box_size > FARTHEST * max(image.width, image.height):
        raise BadImage("box: far larger than the image")
    reach = margin * box_size / 2
    if (center + reach < 0).any() or (center - reach > (image.width, image.height)).any():
        raise BadImage("box: outside the image")

    scale = image.scale_for(margin * box_size, limit)
    side = int(np.ceil(margin * box_size / scale))  # n, in px of the image as decoded
    left, top = np.rint((center + 0.5) / scale - side / 2).astype(int)
    size = min(side, limit)
    square = image.decoded(scale).crop((left, top, left + side, top + side))  # black outside
    if size < side:
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    left, top, side = left * scale, top * scale, side * scale
    origin, factor = np.array([left, top]), size / side

    moved: dict[str, Any] = {
        "image": np.asarray(square),
        "box_center": _move(center, origin, factor),
        "box_size": box_size * factor,
        "source_box": np.array([left, top, left + side, top + side]),
    }
    points = np.array(keypoints_2d, np.float64)
    seen = points[:, 2] > 0
    points[:, :2] = np.where(seen[:, None], _move(points[:, :2], origin, factor), 0)
    moved["keypoints_2d"] = points
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
    image: SourceImage | os.PathLike | bytes,
    *,
    key: str,
    dataset: str,
    box_center: np.ndarray,
    box_size: float,
    keypoints_2d: np.ndarray,
    intrinsics: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    margin: float = MARGIN,
    limit: int = LIMIT,
    estimated_depth: Callable[[SourceImage, np.ndarray, int], dict[str, Any]] | None = None,
    **others: Any,
) -> Record | str:
    """The record of a person in an image, or, where the image cannot be used, the reason.

    Args:
        image: The whole image, its file, or the bytes of the file.
        key: Unique name in the data set.
        dataset: Name of the data set.
        box_center: See `crop_person`, as for the arguments up to `limit`.
        box_size: Px of the image.
        keypoints_2d: (44, 3) px of the image and confidence.
        intrinsics: (3, 3) px of the image.
        mask: (H, W).
        depth: (H, W).
        margin: Side of the square in units of the box.
        limit: Largest side as stored.
        estimated_depth: Image, source box and side as stored: arguments of `records.encode` for the depth.
        **others: Of `records.encode`: keypoints_3d, pose, betas, translation, topology, gender, depth_kind, quality.
    """
    try:
        image = image if isinstance(image, SourceImage) else SourceImage(image)
        cropped = crop_person(
            image,
            box_center=box_center, box_size=box_size, keypoints_2d=keypoints_2d, intrinsics=intrinsics, mask=mask,
            depth=depth, margin=margin, limit=limit,
        )  # fmt: skip
    except BadImage as error:
        return str(error)
    if estimated_depth is not None:
        others |= estimated_depth(image, cropped["source_box"], len(cropped["image"]))
    return records.encode(**cropped, key=key, dataset=dataset, **others)


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
