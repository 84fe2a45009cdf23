"""Finding and reading images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of the files that are read from a folder of images."""


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image as (H, W, 3) uint8 RGB, rotated upright by the file's EXIF orientation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image, or is damaged or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no image {path}.")
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} is not an image of a known format.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded: it is damaged or cut off ({error}).") from error


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The given files, and for each folder the images in it, sorted by name.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no images.
        ValueError: no path is given.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise FileNotFoundError(f"The folder {path} holds no images ({', '.join(SUFFIXES)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"There is no image or folder {path}.")
    if not found:
        raise ValueError("Name an image, or a folder of images; --help lists the options.")
    return found
