"""From a person's box to the square crop that the network sees, at inference (HMR2.0's rule, without augmentation).

Pixels: an integer coordinate is a pixel's centre, and the centre of the box lands on pixel S / 2 of the crop.
Letters: H, W image, S side of the crop.
"""

import numpy as np

ENLARGE = 1.2
"""Training boxes are tight boxes times this (HMR2.0, BEDLAM, the synthetic people), so users' boxes are enlarged."""
ASPECT = 192 / 256
"""Width to height of the part of the crop that the encoder sees."""


def check_box(box: np.ndarray, image_size: tuple[int, int], name: str = "The box") -> None:
    """Raises ValueError, in one sentence that starts with `name`, unless a box can be cut out.

    Args:
        box: (4,) left, top, right, bottom in px.
        image_size: width and height.
        name: of the box in the message.
    """
    width, height = image_size
    text = f"{name} ({', '.join(f'{side:g}' for side in box)})"
    if not np.isfinite(box).all():
        raise ValueError(f"{text} must hold four finite numbers: left, top, right, bottom in pixels.")
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        raise ValueError(f"{text} is empty: give left, top, right, bottom with right > left and bottom > top.")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise ValueError(f"{text} lies outside its image of {width}x{height} pixels.")


def square_box(box: np.ndarray, enlarge: float = ENLARGE) -> tuple[np.ndarray, float]:
    """Centre (2,) and side, px, of the square crop of a box (4,): enlarged, then grown to `ASPECT`, then squared."""
    width, height = enlarge * (box[2:] - box[:2])
    return (box[:2] + box[2:]) / 2, float(max(height, width / ASPECT))


def extract_crop(image: np.ndarray, center: np.ndarray, side: float, size: int) -> np.ndarray:
    """Cuts a square out, bilinearly and with a black border; blurred first where it shrinks much.

    Args:
        image: (H, W, 3) uint8.
        center: (2,) of the square, px.
        side: of the square, px.
        size: S of the crop.

    Returns:
        (S, S, 3) uint8.
    """
    steps = (np.arange(size) - size / 2) * (side / size)
    # HMR2.0: with f half the shrinking factor, the image is blurred by a Gaussian of (f - 1) / 2 once f exceeds 1.1.
    half = side / size / 2
    sigma = (half - 1) / 2 if half > 1.1 else 0.0
    rows, columns = center[1] + steps, center[0] + steps
    margin = int(2 * side / size) + 2  # more than the blur reaches; pixels further left or right are not read
    left = int(np.clip(columns[0] - margin, 0, image.shape[1] - 1))
    right = int(np.clip(columns[-1] + margin, left + 1, image.shape[1]))
    crop = _resample(_resample(image[:, left:right], rows, sigma, 0), columns - left, sigma, 1)
    return np.rint(crop).astype(np.uint8)


def _resample(array: np.ndarray, positions: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Blurs along one axis (edges repeated, cut off at 4 sigma), then interpolates linearly, zero outside."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2) if reach else np.ones(1)
    kernel /= kernel.sum()
    low = np.floor(positions).astype(int)
    length = array.shape[axis]
    lower = (low + 1 - positions) * ((low >= 0) & (low < length))  # weights of the two neighbours
    upper = (positions - low) * ((low >= -1) & (low < length - 1))
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    total = np.zeros((), np.float32)
    # Blur and interpolation in one, so that only the pixels in use are blurred.
    for offset, (left, right) in enumerate(zip([*kernel, 0], [0, *kernel], strict=True), -reach):
        weight = (lower * left + upper * right).astype(np.float32).reshape(shape)
        total = total + weight * np.take(array, low + offset, axis, mode="clip")
    return total
