"""Square crops of images, and the part of a crop that an encoder sees.

Pixels: an integer coordinate is a pixel's centre, and the centre of the square lands on pixel S / 2 of the crop.
Shapes: B batch, H and W image, S side of the crop.
"""

import math

import jax
import numpy as np
from PIL import Image


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
    if turn:
        around = 2 * math.ceil(size * math.sqrt(0.5)) + 2  # holds the square in any turn
        return _turned(extract_crop(image, center, side * around / size, around), size, turn)
    steps = (np.arange(size) - size / 2) * (side / size)
    # HMR2.0: with f half the downscaling factor, the image is blurred by a Gaussian of sigma (f - 1) / 2 if f > 1.1.
    half = side / size / 2
    sigma = (half - 1) / 2 if half > 1.1 else 0.0
    rows, columns = center[1] + steps, center[0] + steps
    margin = int(2 * side / size) + 2  # more than the reach of the blur; pixels further left or right are not read
    left = int(np.clip(columns[0] - margin, 0, image.shape[1] - 1))
    right = int(np.clip(columns[-1] + margin, left + 1, image.shape[1]))
    crop = _resample(_resample(image[:, left:right], rows, sigma, 0), columns - left, sigma, 1)
    return np.rint(crop).astype(np.uint8)


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


def _resample(array: np.ndarray, positions: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Blurs along one axis (edges repeated, kernel cut off at 4 sigma), then interpolates linearly, zero outside."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2) if reach else np.ones(1)
    kernel /= kernel.sum()
    low = np.floor(positions).astype(int)
    length = array.shape[axis]
    lower = (low + 1 - positions) * ((low >= 0) & (low < length))  # weights of the two neighbours
    upper = (positions - low) * ((low >= -1) & (low < length - 1))
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    total = np.zeros((), np.float32)
    # Blur and interpolation in one step, so that only the pixels in use are blurred.
    for offset, (left, right) in enumerate(zip([*kernel, 0], [0, *kernel], strict=True), -reach):
        weight = (lower * left + upper * right).astype(np.float32).reshape(shape)
        total = total + weight * np.take(array, low + offset, axis, mode="clip")
    return total
