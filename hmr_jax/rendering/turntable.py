"""Bodies that turn once around their vertical axis: an animated WebP.

Shapes: P bodies, V vertices, F faces, n colours.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hmr_jax.io import atomic
from hmr_jax.rendering.overlay import PALETTE, draw_from_afar

FRAMES = 36
_SIDE = 400  # px
_SECONDS = 3.0
_MARGIN = 0.05  # of the side


def draw_turntable(
    bodies: Sequence[np.ndarray], faces: np.ndarray, frames: int = FRAMES, side: int = _SIDE,
    colors: np.ndarray = PALETTE,
) -> list[np.ndarray]:  # fmt: skip
    """Views of the bodies from all around, at the height of their middle.

    Args:
        bodies: P arrays (V, 3) in camera axes (y down), metres, where they are to each other.
        faces: (F, 3) of each.
        frames: number of views; the first is that of the photograph, in the next ones the camera has gone to the right.
        side: of the images, px.
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat.

    Returns:
        Images (side, side, 3) uint8.
    """
    corners = np.concatenate(bodies)
    middle = (corners.min(0) + corners.max(0)) / 2
    across = np.hypot(*(corners - middle)[:, [0, 2]].T).max()
    extent = max(2 * across, np.ptp(corners[:, 1]))
    scale, views = (1 - 2 * _MARGIN) * side / extent, []
    for angle in 2 * np.pi * np.arange(frames) / frames:
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        seen = [(body - middle) @ turn.T for body in bodies]
        views.append(draw_from_afar(seen, faces, scale, (side - 1) / 2, (side, side), colors=colors))
    return views


def write_turntable(path: Path, bodies: Sequence[np.ndarray], faces: np.ndarray) -> None:
    """Writes `draw_turntable` as an animated WebP that repeats.

    Args:
        path: of the file.
        bodies: P arrays (V, 3) in camera axes, metres.
        faces: (F, 3) of each.
    """
    first, *others = map(Image.fromarray, draw_turntable(bodies, faces))
    data = io.BytesIO()
    duration = round(1000 * _SECONDS / FRAMES)
    first.save(data, "WEBP", save_all=True, append_images=others, duration=duration, loop=0, quality=80)
    with atomic.writing(path) as part:
        part.write_bytes(data.getvalue())
