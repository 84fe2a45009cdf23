"""The images that labels belong to: found by name, opened once, decoded only as finely as a crop needs.

What cannot be used is told by its reason, a few words such as "image: missing", which the report of a build counts.

Shapes: H, W image in the orientation of its labels.
"""

import io
import os
from collections.abc import Sequence

import numpy as np
from etils import epath
from PIL import ExifTags, Image

_TRANSPOSE = Image.Transpose
# Pillow turns anticlockwise.
_CLOCKWISE = {90: _TRANSPOSE.ROTATE_270, 180: _TRANSPOSE.ROTATE_180, 270: _TRANSPOSE.ROTATE_90}
_AGAINST_EXIF = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT, 3: _TRANSPOSE.ROTATE_180, 4: _TRANSPOSE.FLIP_TOP_BOTTOM, 5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_90, 7: _TRANSPOSE.TRANSVERSE, 8: _TRANSPOSE.ROTATE_270,
}  # fmt: skip


class BadImage(ValueError):
    """The image cannot be used; the message is a reason for a report."""


class SourceImage:
    """An image from which several people are cut: decoded once for each scale that they need."""

    def __init__(self, source: os.PathLike | bytes | np.ndarray, rotation: int = 0, path: os.PathLike | None = None):
        """Decodes the header only.

        Args:
            source: an image file or its bytes (EXIF's orientation is not applied), or (H, W, 3) uint8.
            rotation: degrees clockwise by which the file must be rotated to fit its labels: 0, 90, 180 or 270.
            path: of the file, where `source` is its bytes.

        Raises:
            BadImage: there is no such file, or it is not an image.
        """
        file = source if isinstance(source, os.PathLike) else path
        self.path = None if file is None else epath.Path(file)
        """Of the file; None: not known."""
        self._source = _read(source) if isinstance(source, os.PathLike) else source
        self._rotation, self._decoded = rotation, dict[int, Image.Image]()
        image = self._open()
        self._jpeg = isinstance(image, Image.Image) and image.format in ("JPEG", "MPO")
        width, height = image.size
        self.width, self.height = (width, height) if rotation in (0, 180) else (height, width)

    def decoded(self, scale: int) -> Image.Image:
        """The RGB image at 1 / scale; pixel i holds pixels scale * i to scale * (i + 1) - 1 of the original.

        Raises:
            BadImage: it is damaged or cut off.
        """
        if scale not in self._decoded:
            image = self._open()
            try:
                if scale > 1:
                    image.draft("RGB", (-(-image.width // scale), -(-image.height // scale)))
                image = image.convert("RGB")
            except (OSError, ValueError, SyntaxError) as error:
                raise BadImage("image: cannot be decoded") from error
            if self._rotation:
                image = image.transpose(_CLOCKWISE[self._rotation])
            self._decoded[scale] = image
        return self._decoded[scale]

    def oriented(self, values: np.ndarray) -> np.ndarray:
        """A map of the file, such as its depth, from the orientation that EXIF gives it to that of the labels, (H, W).

        Args:
            values: of the image as viewers show it.
        """
        steps = (
            _AGAINST_EXIF.get(self._open().getexif().get(ExifTags.Base.Orientation, 1)),
            _CLOCKWISE.get(self._rotation),
        )
        for step in steps:
            if step is not None:
                values = np.asarray(Image.fromarray(values).transpose(step))
        return values

    def scale_for(self, side: float, limit: int) -> int:
        """The coarsest of 1, 2, 4, 8 at which a square of `side` px still has `limit` px; 1 unless a JPEG."""
        exact = self._jpeg and (self._rotation == 0 or (self.width % 8 == 0 and self.height % 8 == 0))
        return max((k for k in (1, 2, 4, 8) if exact and side / k >= limit), default=1)

    def _open(self) -> Image.Image:
        if isinstance(self._source, np.ndarray):
            return Image.fromarray(self._source)
        try:
            return Image.open(io.BytesIO(self._source))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadImage("image: cannot be read") from error


def _read(path: os.PathLike) -> bytes:
    try:
        return epath.Path(path).read_bytes()
    except FileNotFoundError:
        raise BadImage("image: missing") from None


def open_image(source: os.PathLike | bytes, rotation: int = 0, path: os.PathLike | None = None) -> SourceImage | str:
    """A `SourceImage`, or the reason why it cannot be used."""
    try:
        return SourceImage(source, rotation, path)
    except BadImage as error:
        return str(error)


class ImageFinder:
    """Finds images by the names in label files; keeps the last one, as people of one image are neighbours."""

    def __init__(self, *folders: epath.Path, endings: Sequence[str] = (), rotation: int = 0):
        """Sets the folders to search.

        Args:
            *folders: searched in this order.
            endings: tried instead of the name's own ending where there is no such file.
            rotation: see `SourceImage`.
        """
        self._folders, self._endings, self._rotation = folders, endings, rotation
        self._last: tuple[str, SourceImage | str] | None = None

    def __call__(self, name: str) -> SourceImage | str:
        """The image, or the reason why it cannot be used."""
        if self._last is None or self._last[0] != name:
            self._last = name, self._find(name)
        return self._last[1]

    def _find(self, name: str) -> SourceImage | str:
        for folder in self._folders:
            path = folder / name
            for file in (path, *(path.with_suffix(ending) for ending in self._endings)):
                if file.exists():
                    return open_image(file, self._rotation)
        return "image: missing"
