"""Square crops of images, and the part of a crop that an encoder sees.

Pixels: an integer coordinate is a pixel's centre, and the centre of the square lands on pixel S / 2 of the crop.
Shapes: B batch, H and W image, S side of the crop.
"""

import math

import jax
import numpy as np
from PIL import Image

from hmr_jax.geometry.resampling import resample


def centre_columns(maps: jax.Array, width: int) -> jax.Array:
    """(B, S, S, ...) -> (B, S, width, ...): the part of the crop that an encoder of that width sees."""
    left = (maps.shape[2] - width) // 2
    return maps[:, :, left : left + width]


def extract_crop(image: np.ndarray, center: np.ndarray, side: float, size: int, turn: float = 0.0) -> np.ndarray:
    """Cuts a square out of an image, bilinearly and with a black border; blurs it first where it shrinks much.

    Args:
        image: (H, W, 3) uint8.
        center: (2,) of the square, px.
        side: of the square, px.
        size: S of the crop.
        turn: degrees by which the square is turned clockwise about its centre.

    Returns:
        (S, S, 3) uint8.
    """
    return CropInTurns(image, center, side, size)(turn) if turn else _sampled(image, center, side / size, size)


class CropInTurns:
    """Crops of one square in several turns: the image is sampled once, in a square that holds all of them."""

    def __init__(self, image: np.ndarray, center: np.ndarray, side: float, size: int):
        """Samples the image; arguments as of `extract_crop`."""
        self._size, self._beyond = size, math.ceil(size * (math.sqrt(0.5) - 0.5)) + 1
        self._around = _sampled(image, center, side / size, size + 2 * self._beyond)

    def __call__(self, turn: float) -> np.ndarray:
        """The crop (S, S, 3) uint8 that `extract_crop` cuts out in this turn."""
        if turn:
            return _turned(self._around, self._size, turn)
        middle = slice(self._beyond, self._beyond + self._size)
        return self._around[middle, middle]


def _sampled(image: np.ndarray, center: np.ndarray, step: float, size: int) -> np.ndarray:
    """The square crop (size, size, 3) whose pixels are `step` px of the image apart."""
    steps = (np.arange(size) - size / 2) * step
    # HMR2.0: with f half the downscaling factor, the image is blurred by a Gaussian of sigma (f - 1) / 2 if f > 1.1.
    half = step / 2
    sigma = (half - 1) / 2 if half > 1.1 else 0.0
    crop = np.zeros((size, size, 3), np.uint8)
    # Only what the image reaches is computed, so that a square costs no more the larger it is.
    (rows, y), (columns, x) = (_near(center[axis] + steps, image.shape[1 - axis]) for axis in (1, 0))
    if len(y) and len(x):
        crop[rows, columns] = np.rint(resample(image, y, x, sigma)).astype(np.uint8)
    return crop


def _near(positions: np.ndarray, length: int) -> tuple[slice, np.ndarray]:
    """Where rising positions are less than a pixel away from an axis of this length, and these positions."""
    first, last = np.searchsorted(positions, -1, "right"), np.searchsorted(positions, length)
    return slice(first, last), positions[first:last]


def _turned(around: np.ndarray, size: int, degrees: float) -> np.ndarray:
    """The middle (size, size, 3) of a larger square crop, turned clockwise by some degrees."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    middle, center = (len(around) + 1) / 2, (size + 1) / 2  # Pillow counts from the corners of pixels
    matrix = (
        cosine, -sine, middle - (cosine - sine) * center,
        sine, cosine, middle - (sine + cosine) * center,
    )  # fmt: skip
    image = Image.fromarray(around)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
