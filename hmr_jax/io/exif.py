"""The focal length that a camera wrote into an image file."""

import math
from pathlib import Path

from PIL import ExifTags, Image

_DIAGONAL_35MM = math.hypot(36, 24)  # mm: what a "35 mm equivalent" focal length refers to
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # of FocalPlaneResolutionUnit
_SAME_ASPECT = 0.01  # by which the aspects of one image differ: sides are whole pixels


def focal_length_of_file(path: str | Path) -> float | None:
    """`focal_length` of an image file, of which only the header is read; None where it cannot be read.

    See `hmr_jax.io.images.ignore_pillows_warnings`.
    """
    try:
        with Path(path).open("rb") as file, Image.open(file) as image:
            return focal_length(image)
    except Exception:  # each format raises its own errors; who reads the pixels reports them
        return None


def focal_length(image: Image.Image) -> float | None:
    """Focal length in pixels from EXIF, or None where the image has none that is sure to be its own.

    From the 35 mm equivalent, which compares the diagonals of image and film (CIPA DCG-001); else from the focal
    length and the sensor's pixels per inch, centimetre or millimetre. An image that was cropped after it was taken
    has another aspect than the size that EXIF states, and gives None; one that was made smaller is recognised.
    """
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        width, height = image.size
        stated = [float(tags.get(tag, 0)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
        if min(stated) > 0:
            aspect, written = (max(sides) / min(sides) for sides in ((width, height), stated))
            if abs(aspect / written - 1) > _SAME_ASPECT:
                return None
        equivalent = float(tags.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
        if equivalent > 0:
            return _usable(equivalent / _DIAGONAL_35MM * math.hypot(width, height), image)
        millimetres = float(tags.get(ExifTags.Base.FocalLength, 0))
        density = float(tags.get(ExifTags.Base.FocalPlaneXResolution, 0))
        unit = _MM_PER_UNIT.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
        if unit and min(millimetres, density, *stated) > 0:
            return _usable(millimetres * density / unit * max(width, height) / max(stated), image)
    except Exception:  # damaged metadata raise many kinds of errors
        return None
    return None


def _usable(pixels: float, image: Image.Image) -> float | None:
    """A focal length in px if a lens for photographs can have it: 0.2 to 50 times the longer side."""
    return pixels if 0.2 <= pixels / max(image.size) <= 50 else None
