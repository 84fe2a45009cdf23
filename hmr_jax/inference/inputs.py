"""Images and boxes in the kinds in which users have them.

Shapes: H, W an image, n its boxes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from hmr_jax.geometry.intrinsics import image_camera, intrinsics_of_each
from hmr_jax.inference.photo import Photo
from hmr_jax.io.exif import focal_length, focal_length_of_file
from hmr_jax.io.images import read_image, to_rgb

OneImage = np.ndarray | jax.Array | Image.Image | str | Path
Images = OneImage | Sequence[OneImage]
"""An image, or several, as `Predictor` takes them."""


def is_one(images: Any) -> bool:
    """Whether these are one image, usable or not, and not several: arrays of several have four axes."""
    return isinstance(images, Image.Image | str | Path) or (hasattr(images, "shape") and len(images.shape) < 4)


def several_images(images: Any) -> list[Any]:
    """A list of images, also of one; raises ValueError for what can hold none."""
    several = [images] if is_one(images) else images
    if not np.iterable(several):
        raise ValueError(f"Images must be arrays, PIL images or paths, not {type(images).__name__}.")
    return list(several)


def image_list(images: Any) -> list[np.ndarray]:
    """Images as (H, W, 3) uint8 RGB each; raises ValueError for what is no image, FileNotFoundError for no file."""
    return [_rgb_array(image, index) for index, image in enumerate(several_images(images))]


def photos_of(images: Images, intrinsics: Any = None, crop_focal_length: float | None = None) -> list[Photo]:
    """Images with their cameras, and the paths of the files that they are from.

    Args:
        images: one or several.
        intrinsics: as for `intrinsics_of_each`; where there are none, the camera of EXIF, or the default.
        crop_focal_length: as for `image_camera`.

    Raises:
        FileNotFoundError: there is no such image.
        ValueError: images or intrinsics cannot be used.
    """
    images = several_images(images)
    arrays = image_list(images)
    photos = []
    for image, array, given in zip(images, arrays, intrinsics_of_each(intrinsics, len(images)), strict=True):
        exif = None
        if isinstance(image, Image.Image):
            exif = focal_length(image)
        elif isinstance(image, str | Path):
            exif = focal_length_of_file(_expanded(image))
        camera = image_camera((array.shape[1], array.shape[0]), given, exif, crop_focal_length)
        path = image if isinstance(image, str | Path) else getattr(image, "filename", "") or "image"
        photos.append(Photo(Path(path), array, camera))
    return photos


def _expanded(path: str | Path) -> Path:
    return Path(path).expanduser()


def _rgb_array(image: Any, index: int) -> np.ndarray:
    if isinstance(image, str | Path):
        return read_image(_expanded(image))
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except (OSError, ValueError) as error:
            raise ValueError(f"Image {index}: {error}") from error
    if not hasattr(image, "shape"):
        raise ValueError(f"Image {index} is a {type(image).__name__}; expected an array, a PIL image or a path.")
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"Image {index} is {image.dtype}{image.shape}; expected uint8 (H, W, 3), RGB, or (H, W).")
    return np.broadcast_to(array, (*array.shape[:2], 3))


def whole_boxes(text: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(4,) the whole of each image; raises ValueError if the text is not "whole"."""
    if text != "whole":
        raise ValueError(f"Boxes '{text}': give arrays, None to find the people, or \"whole\".")
    return [np.array([0, 0, image.shape[1], image.shape[0]]) for image in images]


def one_per_image(given: Any, count: int, what: str, wanted: str) -> list[Any]:
    """What is given for each of some images; raises ValueError if it is of another number of them, or no list."""
    several = list(given) if np.iterable(given) and not isinstance(given, str | bytes | dict) else None
    if several is None or len(several) != count:
        found = f"a {type(given).__name__} as {what}" if several is None else f"{what} of {len(several)}"
        raise ValueError(f"{count} images but {found}: give {wanted}.")
    return several
