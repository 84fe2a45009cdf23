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
    crop = np.zeros((size, size, 3), np.uint8)
    # Only what the image reaches is computed, so that a square costs no more the larger it is.
    (rows, y), (columns, x) = (_near(center[axis] + steps, image.shape[1 - axis]) for axis in (1, 0))
    if len(y) and len(x):
        margin = int(min(2 * side / size + 2, image.shape[1]))  # more than the reach of the blur
        left = max(0, int(x[0]) - margin)
        right = min(image.shape[1], int(x[-1]) + margin + 2)
        inside = _resample(_resample(image[:, left:right], y, sigma, 0), x - left, sigma, 1)
        crop[rows, columns] = np.rint(inside).astype(np.uint8)
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


def _resample(array: np.ndarray, positions: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Blurs along one axis (edges repeated, kernel cut off at 4 sigma), then interpolates linearly, zero outside."""
    length = array.shape[axis]
    reach = int(4 * sigma + 0.5)
    shown = min(reach, length + 1)  # from everywhere, what is farther away is an edge
    kernel = np.exp(-0.5 * (np.arange(-shown, shown + 1) / sigma) ** 2) if reach else np.ones(1)
    if shown < reach:
        tail = sigma * math.sqrt(math.pi / 2) * math.erf((reach + 0.5) / (sigma * math.sqrt(2)))
        tail -= kernel.sum() / 2
        kernel[[0, -1]] += tail
    kernel /= kernel.sum()
    low = np.floor(positions).astype(int)
    lower = (low + 1 - positions) * ((low >= 0) & (low < length))  # weights of the two neighbours
    upper = (positions - low) * ((low >= -1) & (low < length - 1))
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    total = np.zeros((), np.float32)
    # Blur and interpolation in one step, so that only the pixels in use are blurred.
    for offset, (left, right) in enumerate(zip([*kernel, 0], [0, *kernel], strict=True), -shown):
        weight = (lower * left + upper * right).astype(np.float32).reshape(shape)
        total = total + weight * np.take(array, low + offset, axis, mode="clip")
    return total
