"""Contact sheets: many images in one, in rows, with captions.

Shapes: N images, H height, W width.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def contact_sheet(images: Sequence[np.ndarray] | np.ndarray, columns: int, gap: int = 6) -> np.ndarray:
    """Images (H, W, 3) uint8 of one size, N in all, in rows of `columns`; gaps and empty places are white.

    Args:
        images: at least one.
        columns: images in a row.
        gap: between images, px.

    Returns:
        The sheet, uint8.
    """
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """Writes text into the upper left corner of a copy of an image (H, W, 3) uint8, readable on any background."""
    canvas = Image.fromarray(image)
    size = max(12, round(image.shape[0] / 28))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(canvas).text(
        (size / 2, size / 3), text, (255, 255, 255), font, stroke_width=max(1, size // 10), stroke_fill=(60, 60, 60)
    )
    return np.asarray(canvas)
