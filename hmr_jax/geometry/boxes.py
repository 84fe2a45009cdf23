"""From a person's box to the square crop at inference (HMR2.0's rule, without augmentation).

Pixels: an integer coordinate is a pixel's centre.
"""

from typing import Any

import numpy as np

ENLARGE = 1.2
"""Training boxes are tight boxes times this (HMR2.0, BEDLAM, the synthetic people), so users' boxes are enlarged."""
ASPECT = 192 / 256
"""Width to height of the part of the crop that the encoder sees."""
SMALLEST = 2.0
"""Pixels: a box with a shorter side shows nobody; most often its numbers are no pixels."""
LARGEST = 10.0
"""A box with a longer side than this, in longer sides of its image, shows too little of anybody."""
_NO_BOXES = "are not a list of [left, top, right, bottom] in pixels"


def as_boxes(rows: Any, name: str = "The boxes") -> np.ndarray:
    """Boxes (n, 4) float64 from an array or lists of that shape, or (4,) for one; (0, 4) from an empty one.

    Args:
        rows: left, top, right, bottom in px of each.
        name: of the boxes, at the start of the message.

    Raises:
        ValueError: it is something else, such as rows with a score.
    """
    try:
        boxes = np.asarray(rows)
        if boxes.dtype.kind in "bcSU":
            raise TypeError
        boxes = boxes.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} {_NO_BOXES}.") from None
    if boxes.ndim and not len(boxes):
        return np.zeros((0, 4))
    if boxes.ndim == 3 and len(boxes) == 1:
        boxes = boxes[0]
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        hint = "; leave scores, classes and other columns out" if boxes.ndim and boxes.shape[-1] > 4 else ""
        raise ValueError(f"{name} {_NO_BOXES}: they have shape {boxes.shape}, expected (n, 4){hint}.")
    return boxes.reshape(-1, 4)


def check_box(box: np.ndarray, image_size: tuple[int, int], name: str = "The box") -> None:
    """Checks that a box can be cut out of an image.

    Args:
        box: (4,) left, top, right, bottom in px.
        image_size: width and height.
        name: of the box, at the start of the message.

    Raises:
        ValueError: the box is not finite, empty, smaller than `SMALLEST`, larger than `LARGEST`, or outside the image.
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
    if min(right - left, bottom - top) < SMALLEST:
        raise ValueError(f"{text} is less than {SMALLEST:g} pixels wide or high: give pixels, not shares of the image.")
    if max(right - left, bottom - top) > LARGEST * max(image_size):
        raise ValueError(f"{text} is more than {LARGEST:g} times as large as its image of {width}x{height} pixels.")


def usable_boxes(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(n,) whether `check_box` accepts each of boxes (n, 4) for an image of (width, height)."""

    def fits(box: np.ndarray) -> bool:
        try:
            check_box(box, image_size)
        except ValueError:
            return False
        return True

    return np.array([fits(box) for box in boxes], bool)


def square_box(box: np.ndarray, enlarge: float = ENLARGE) -> tuple[np.ndarray, float]:
    """Centre (2,) and side, px, of the square crop of a box (4,): enlarged, padded to `ASPECT`, then to a square."""
    width, height = enlarge * (box[2:] - box[:2])
    return (box[:2] + box[2:]) / 2, float(max(height, width / ASPECT))
