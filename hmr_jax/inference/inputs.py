"""Images and boxes in the kinds in which users have them.

Shapes: H, W an image, n its boxes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from hmr_jax.geometry.boxes import usable_boxes
from hmr_jax.io.exif import focal_length
from hmr_jax.io.images import to_rgb

Images = np.ndarray | jax.Array | Image.Image | Sequence[np.ndarray | jax.Array | Image.Image]
"""An image, or several, as `Predictor` takes them."""


def is_one(images: Any) -> bool:
    """Whether these are one image, usable or not, and not several: arrays of several have four axes."""
    return isinstance(images, Image.Image) or (hasattr(images, "shape") and len(images.shape) < 4)


def several_images(images: Any) -> list[Any]:
    """A list of images, also of one; raises ValueError for what can hold none."""
    several = [images] if is_one(images) else images
    if isinstance(several, str | Path) or not np.iterable(several):
        raise ValueError(f"Images must be arrays or PIL images, not {type(images).__name__}.")
    return list(several)


def image_list(images: Any) -> list[np.ndarray]:
    """Images as (H, W, 3) uint8 RGB each; raises ValueError for what is no image."""
    return [_rgb_array(image, index) for index, image in enumerate(several_images(images))]


def exif_focal_lengths(images: Sequence[Any]) -> list[float | None]:
    """Focal lengths in px of what PIL images say of their cameras; None for arrays."""
    return [focal_length(image) if isinstance(image, Image.Image) else None for image in images]


def _rgb_array(image: Any, index: int) -> np.ndarray:
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except (OSError, ValueError) as error:
            raise ValueError(f"Image {index}: {error}") from error
    if not hasattr(image, "shape"):
        raise ValueError(f"Image {index} is a {type(image).__name__}; expected an array or a PIL image.")
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"Image {index} is {image.dtype}{image.shape}; expected uint8 (H, W, 3), RGB, or (H, W).")
    return np.broadcast_to(array, (*array.shape[:2], 3))


def usable(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The boxes (n, 4) that `check_box` accepts for an image (H, W, ...)."""
    return np.asarray(boxes)[usable_boxes(boxes, (shape[1], shape[0]))].reshape(-1, 4)
