"""Finding and reading images."""

import glob
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

_HEIF = (".heic", ".heif")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", *_HEIF)
"""Suffixes of the files that are read from a folder of images."""
_VIDEOS = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
})  # fmt: skip
WEBCAM = "webcam:"
"""Before the number or the device of a camera."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_STRIP = 256  # rows


def is_video(path: str | Path) -> bool:
    """Whether a file has the name of a video."""
    return Path(path).suffix.lower() in _VIDEOS


def is_webcam(path: str | Path) -> bool:
    """Whether this names a camera at the computer, "webcam:0"."""
    return str(path).startswith(WEBCAM)


def ignore_pillows_warnings() -> None:
    """Ignores Pillow's warnings, of large images and odd metadata, which do no harm.

    For the rest of the process, or of a block of `warnings.catch_warnings`: such blocks are not safe in threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\b")


def read_image(path: str | Path, in_thread: bool = False) -> np.ndarray:
    """Reads an image file as (H, W, 3) uint8 RGB, upright as its EXIF orientation says; `as_rgb` has the details.

    Args:
        path: of the file.
        in_thread: whether other threads run: then Pillow's warnings are as `ignore_pillows_warnings` left them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image, damaged, cut off or too large, or the range of its values is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no image {path}.")
    if path.suffix.lower() in _HEIF:
        _read_heif_too(path)
    try:
        hidden = nullcontext() if in_thread else _quiet()
        # Opened here: files that Pillow opens it may map, and mapped TIFFs with an orientation come out garbled.
        with hidden, path.open("rb") as file, Image.open(file) as image:
            return to_rgb(image)
    except _UnknownRange as error:
        raise ValueError(f"{path} {error}") from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} is not an image of a known format.") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large, shrink it first: {str(error).split(',')[0]}.") from None
    except Exception as error:  # each format raises its own errors for damaged bytes
        if isinstance(error, OSError) and error.strerror:
            raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
        raise ValueError(f"{path} cannot be decoded: it is damaged or cut off ({error}).") from error


def _read_heif_too(path: Path) -> None:
    """Lets Pillow read HEIF, as phones write it; raises ValueError where what reads it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        raise ValueError(f"{path} is HEIF: pip install pillow-heif, or save it as JPEG.") from None
    pillow_heif.register_heif_opener()


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        ignore_pillows_warnings()
        yield


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file as `read_image` reads it, from its header.

    Raises:
        ValueError: it is no image.
    """
    try:
        with _quiet(), path.open("rb") as file, Image.open(file) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception as error:  # each format raises its own errors
        raise ValueError(f"{path} cannot be decoded: it is damaged or cut off ({error}).") from error
    return (height, width) if turned else (width, height)


def to_rgb(image: Image.Image) -> np.ndarray:
    """`as_rgb` of an image that is rotated upright by its EXIF orientation, (H, W, 3) uint8."""
    image.load()  # some formats know their orientation only then
    method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    rgb = as_rgb(image)
    rgb = rgb if method is None else rgb.transpose(method)
    array = np.empty((rgb.height, rgb.width, 3), np.uint8)
    for top in range(0, rgb.height, _STRIP):  # half the time of the whole at once, which Pillow copies twice
        bottom = min(top + _STRIP, rgb.height)
        array[top:bottom] = np.asarray(rgb.crop((0, top, rgb.width, bottom)))
    return array


def as_rgb(image: Image.Image) -> Image.Image:
    """An image of any of Pillow's modes as RGB of 8 bits; one that is RGB already is returned as it is.

    What is transparent becomes white. Grey levels of 16 (or 12) bits are scaled to 8. Floats up to 1 are taken as
    shares of white, larger ones up to 255, and integers of 32 bits up to 255, as they are; larger integers as 16 bits.

    Raises:
        ValueError: numbers are negative, not finite, or larger than these ranges.
    """
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:  # of 16 bits, while the pixels are of 8 now
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    if image.mode == "La":  # Pillow converts it no further
        image = image.convert("LA")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


class _UnknownRange(ValueError):
    """Numbers that have no brightness; the message follows the file's name."""


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Grey levels (H, W) uint8 of the modes of more than 8 bits: I;16 and its relatives, I (32 bits) and F."""
    values = np.asarray(image)
    low, high = values.min(initial=0), values.max(initial=0)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits = tags.get(ExifTags.Base.BitsPerSample, (0,))[0]
    if not (low >= 0 and np.isfinite(high)):
        raise _UnknownRange("has pixels that are negative or not finite: save it with 8 or 16 bits.")
    if image.mode.startswith("I;16"):
        white = 4095 if bits == 12 else 65535
    elif image.mode == "F":
        white = 1 if high <= 1 else 255
    elif image.format in ("PNG", "PPM"):  # older versions of Pillow give 16 bits as 32
        white = 65535
    elif bits == 16:  # with a sign
        white = 32767
    else:
        white = 255 if high <= 255 else 65535
    if high > white:
        raise _UnknownRange(f"has pixels up to {high:g}, of which white is unknown: save it with 8 or 16 bits.")
    grey = np.rint(values * (255 / white)).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # zero is white; Pillow inverts only 8 bits itself
        grey = 255 - grey
    if (key := image.info.get("transparency")) is not None:
        grey = np.where(values == key, np.uint8(255), grey)
    return grey


def find_images(paths: Sequence[Path], recursive: bool = False) -> list[Path]:
    """The given files, and for each folder or pattern the images in it, sorted by name; each file once.

    Files whose names begin with a dot are left out of folders, as file managers do: most are notes of theirs.

    Args:
        paths: of files and folders, or patterns such as "photos/*.jpg".
        recursive: whether the images of a folder are all below it.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no images.
        ValueError: no path is given.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = path.rglob("*") if recursive else path.iterdir()
            inside = sorted(file for file in files if _is_listed(file))
            if not inside:
                raise FileNotFoundError(f"The folder {path} holds no images ({', '.join(SUFFIXES)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        elif matching := sorted(map(Path, glob.glob(str(path), recursive=True))):
            found += [file for file in matching if _is_listed(file)]
        else:
            raise FileNotFoundError(f"There is no image or folder {path}.")
    if not found:
        raise ValueError("Name an image, or a folder of images; --help lists the options.")
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.absolute(), path)
    return list(once.values())


def _is_listed(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
