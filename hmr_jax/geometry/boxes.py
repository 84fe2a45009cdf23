"""From a person's box to the square crop at inference (HMR2.0's rule, without augmentation).

Pixels: an integer coordinate is a pixel's centre.
"""

import numpy as np

ENLARGE = 1.2
"""Training boxes are tight boxes times this (HMR2.0, BEDLAM, the synthetic people), so users' boxes are enlarged."""
ASPECT = 192 / 256
"""Width to height of the part of the crop that the encoder sees."""


def check_box(box: np.ndarray, image_size: tuple[int, int], name: str = "The box") -> None:
    """Checks that a box can be cut out of an image.

    Args:
        box: (4,) left, top, right, bottom in px.
        image_size: width and height.
        name: of the box, at the start of the message.

    Raises:
        ValueError: the box is not finite, is empty, or lies outside the image.
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
    """Centre (2,) and side, px, of the square crop of a box (4,): enlarged, padded to `ASPECT`, then to a square."""
    width, height = enlarge * (box[2:] - box[:2])
    return (box[:2] + box[2:]) / 2, float(max(height, width / ASPECT))
