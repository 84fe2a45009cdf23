"""The images that labels belong to: found by name, opened once, decoded only as finely as a crop needs.

What cannot be used is told by its reason, a few words such as "image: missing", which the report of a build counts.

Shapes: H, W image in the orientation of its labels.
"""

import io
import os
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from etils import epath
from PIL import ExifTags, Image

from hmr_jax.io.images import to_rgb

_TRANSPOSE = Image.Transpose
# Pillow turns anticlockwise.
_CLOCKWISE = {90: _TRANSPOSE.ROTATE_270, 180: _TRANSPOSE.ROTATE_180, 270: _TRANSPOSE.ROTATE_90}
_AGAINST_EXIF = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT, 3: _TRANSPOSE.ROTATE_180, 4: _TRANSPOSE.FLIP_TOP_BOTTOM, 5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_90, 7: _TRANSPOSE.TRANSVERSE, 8: _TRANSPOSE.ROTATE_270,
}  # fmt: skip
_OPENED_UPRIGHT = ("TIFF",)  # formats that Pillow itself turns
Orientation = Literal["upright", "stored", ""]
"""Which pixels labels mean where EXIF turns an image: "upright": those that viewers show, as predict.py; "stored":
those of the file, as HMR2.0's own code; "": not known, so such an image is refused."""
UNCLEAR = "image: turned by EXIF; say --option exif=upright or exif=stored, whichever the labels mean"


class BadImage(ValueError):
    """The image cannot be used; the message is a reason for a report."""


def check_orientation(exif: str) -> None:
    """Raises ValueError if `exif` is no `Orientation`."""
    if exif not in get_args(Orientation):
        raise ValueError(f"exif must be upright, stored or empty, not '{exif}'.")


class SourceImage:
    """An image from which several people are cut: decoded once for each scale that they need."""

    def __init__(
        self,
        source: os.PathLike | bytes | np.ndarray,
        rotation: int = 0,
        path: os.PathLike | None = None,
        exif: Orientation = "stored",
        labelled_size: tuple[int, int] | None = None,
    ):
        """Decodes the header only.

        Args:
            source: an image file or its bytes, or (H, W, 3) uint8.
            rotation: degrees clockwise by which the file must be rotated to fit its labels: 0, 90, 180 or 270; after
                EXIF's own.
            path: of the file, where `source` is its bytes.
            exif: which pixels the labels mean.
            labelled_size: width and height that the labels state, to be those of the image; where `exif` is "" they
                tell whether the labels are upright.

        Raises:
            BadImage: there is no such file, it is not an image, it has another size, or it is turned and nothing says
                whether the labels are.
        """
        file = source if isinstance(source, os.PathLike) else path
        self.path = None if file is None else epath.Path(file)
        """Of the file; None: not known."""
        self._source = _read(source) if isinstance(source, os.PathLike) else source
        self._rotation, self._decoded = rotation, dict[int, Image.Image]()
        image = self._open()
        self._jpeg = isinstance(image, Image.Image) and image.format in ("JPEG", "MPO")
        self._turned = _orientation(image)
        swapped = self._turned >= 5
        stored = image.size[::-1] if swapped and image.format in _OPENED_UPRIGHT else image.size
        if self._turned != 1 and not exif:
            sizes = {stored: "stored", stored[::-1]: "upright"} if swapped and stored[0] != stored[1] else {}
            exif = sizes.get(labelled_size, "")  # type: ignore[arg-type, assignment]
            if not exif:
                raise BadImage(UNCLEAR)
        self._upright = exif == "upright"
        width, height = stored[::-1] if swapped and self._upright else stored
        if labelled_size not in (None, (width, height)):
            raise BadImage("image: not of the size that the labels state")
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
                image = Image.fromarray(to_rgb(image))
            except Exception as error:  # each format raises its own errors for damaged bytes
                raise BadImage("image: cannot be decoded") from error
            if self._turned != 1 and not self._upright:
                image = image.transpose(_AGAINST_EXIF[self._turned])
            if self._rotation:
                image = image.transpose(_CLOCKWISE[self._rotation])
            self._decoded[scale] = image
        return self._decoded[scale]

    def oriented(self, values: np.ndarray) -> np.ndarray:
        """A map of the file, such as its depth, from the orientation that EXIF gives it to that of the labels, (H, W).

        Args:
            values: of the image as viewers show it.
        """
        against = None if self._upright else _AGAINST_EXIF.get(self._turned)
        for step in (against, _CLOCKWISE.get(self._rotation)):
            if step is not None:
                values = np.asarray(Image.fromarray(values).transpose(step))
        return values

    def scale_for(self, side: float, limit: int) -> int:
        """The coarsest of 1, 2, 4, 8 at which a square of `side` px still has `limit` px; 1 unless a JPEG."""
        turned = self._rotation != 0 or (self._upright and self._turned != 1)
        exact = self._jpeg and (not turned or (self.width % 8 == 0 and self.height % 8 == 0))
        return max((k for k in (1, 2, 4, 8) if exact and side / k >= limit), default=1)

    def _open(self) -> Image.Image:
        if isinstance(self._source, np.ndarray):
            return Image.fromarray(self._source)
        try:
            return Image.open(io.BytesIO(self._source))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadImage("image: cannot be read") from error


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF: Pillow's parsers raise what they meet
        return 1
    return found if found in _AGAINST_EXIF else 1


def _read(path: os.PathLike) -> bytes:
    try:
        return epath.Path(path).read_bytes()
    except FileNotFoundError:
        raise BadImage("image: missing") from None


def open_image(
    source: os.PathLike | bytes,
    rotation: int = 0,
    path: os.PathLike | None = None,
    exif: Orientation = "",
    labelled_size: tuple[int, int] | None = None,
) -> SourceImage | str:
    """A `SourceImage`, or the reason why it cannot be used."""
    try:
        return SourceImage(source, rotation, path, exif, labelled_size)
    except BadImage as error:
        return str(error)


class ImageFinder:
    """Finds images by the names in label files; keeps the last one, as people of one image are neighbours."""

    def __init__(self, *folders: epath.Path, endings: Sequence[str] = (), rotation: int = 0, exif: Orientation = ""):
        """Sets the folders to search.

        Args:
            *folders: searched in this order.
            endings: tried instead of the name's own ending where there is no such file.
            rotation: see `SourceImage`.
            exif: see `SourceImage`.
        """
        self._folders, self._endings, self._rotation, self._exif = folders, endings, rotation, exif
        self._last: tuple[str, SourceImage | str] | None = None

    def __call__(self, name: str, labelled_size: tuple[int, int] | None = None) -> SourceImage | str:
        """The image, or the reason why it cannot be used; `labelled_size` as for `SourceImage`."""
        if self._last is None or self._last[0] != name:
            self._last = name, self._find(name, labelled_size)
        return self._last[1]

    def _find(self, name: str, labelled_size: tuple[int, int] | None) -> SourceImage | str:
        for folder in self._folders:
            path = folder / name
            for file in (path, *(path.with_suffix(ending) for ending in self._endings)):
                if file.is_file():
                    return open_image(file, self._rotation, None, self._exif, labelled_size)
        return "image: missing"
