"""Points drawn on images: keypoints, expected errors, sampling points of a deformable decoder.

Shapes: H and W image, S side of a crop, K points, L layers, G groups, N sampling points.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hmr_jax.rendering.contact_sheet import caption, contact_sheet

GROUP_COLORS = (
    (255, 99, 71), (65, 164, 255), (255, 205, 60), (80, 220, 130),
    (230, 120, 240), (60, 225, 225), (255, 150, 60), (235, 235, 235),
)  # fmt: skip
SURE, UNSURE = np.array([90, 220, 130]), np.array([255, 70, 60])
UNSURE_AT = 0.15
"""Metres of expected error at which a keypoint is drawn in the second colour."""
POINT = 1.5
"""Radius of a keypoint in its ring, and smallest radius of a ring, px."""
_SMOOTH = 3  # drawn this much larger, then shrunk: Pillow's discs have jagged edges


def draw_points(
    image: np.ndarray,
    points: np.ndarray,
    colors: Sequence[tuple[int, int, int]] = ((255, 255, 255),),
    radius: float = 3.0,
    bones: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Draws discs, and lines between them, on a copy of an image.

    Args:
        image: (H, W, 3) uint8.
        points: (K, 2) px, an integer coordinate is a pixel's centre; those that are not finite are left out.
        colors: RGB of the first, second, ... point; they repeat.
        radius: of the discs, px.
        bones: pairs of indices of points to be joined, in the colour of the second.
    """
    height, width = image.shape[:2]
    canvas = Image.fromarray(image).resize((width * _SMOOTH, height * _SMOOTH), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)
    scaled = (np.asarray(points, np.float64) + 0.5) * _SMOOTH
    seen = np.isfinite(scaled.sum(1))
    for start, end in bones:
        if seen[start] and seen[end]:
            pen.line([*scaled[start], *scaled[end]], colors[end % len(colors)], round(radius * _SMOOTH))
    for index in np.flatnonzero(seen).tolist():
        pen.circle(tuple(scaled[index]), radius * _SMOOTH, colors[index % len(colors)])
    return np.asarray(canvas.reduce(_SMOOTH))


def draw_errors(
    image: np.ndarray, points: np.ndarray, sigma: np.ndarray, pixels_per_metre: float | np.ndarray
) -> np.ndarray:
    """Draws keypoints in rings as large as their expected error, from green (0) to red (15 cm), on a copy of an image.

    The rings are transparent, so that the image stays visible below many large ones.

    Args:
        image: (H, W, 3) uint8.
        points: (K, 2) px, an integer coordinate is a pixel's centre; those that are not finite are left out.
        sigma: (K,) expected errors, metres.
        pixels_per_metre: scale of all points, or (K,) of each.
    """
    layer = Image.new("RGBA", image.shape[1::-1])
    pen = ImageDraw.Draw(layer)
    radii = np.maximum(sigma * pixels_per_metre, POINT)
    shares = np.minimum(sigma / UNSURE_AT, 1)[:, None]
    colors = np.rint(SURE + shares * (UNSURE - SURE))
    for index in np.flatnonzero(np.isfinite(points.sum(1) + radii)).tolist():
        color, point, radius = (*colors[index].astype(int).tolist(),), points[index], radii[index]
        pen.ellipse([*(point - radius), *(point + radius)], None, (*color, 150))
        pen.ellipse([*(point - POINT), *(point + POINT)], (*color, 255))
    return np.asarray(Image.alpha_composite(Image.fromarray(image).convert("RGBA"), layer).convert("RGB"))


def draw_sampling(crop: np.ndarray, points: np.ndarray, seen_width: float = 0.75, side: int = 360) -> np.ndarray:
    """One panel per decoder layer: its sampling points on the crop, in one colour per group of channels.

    There is one panel for all layers if they sample the same points.

    Args:
        crop: (S, S, 3) uint8.
        points: (L, G, N, 2) in crop coordinates, which span [-0.5, 0.5].
        seen_width: share of the crop's width, in its middle, that the encoder sees; the rest is darkened.
        side: of a panel, px.

    Returns:
        The panels, up to three in a row, uint8.
    """
    image = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BICUBIC)) * np.float32(0.6)
    hidden = np.abs(np.arange(side) + 0.5 - side / 2) > seen_width * side / 2
    image[:, hidden] *= 0.4
    # Crop coordinate 0 is the centre of pixel S / 2.
    pixels = ((points + 0.5) * crop.shape[0] + 0.5) * (side / crop.shape[0]) - 0.5
    titles = [f"layer {layer + 1}" for layer in range(len(pixels))]
    if (points == points[:1]).all():
        pixels, titles = pixels[:1], ["all layers"]
    panels = []
    for title, groups in zip(titles, pixels, strict=True):
        # Drawn point by point with all groups, so that no group covers all others.
        ordered = groups.swapaxes(0, 1).reshape(-1, 2)
        colors = [GROUP_COLORS[group % len(GROUP_COLORS)] for group in range(len(groups))]
        panel = draw_points(image.astype(np.uint8), ordered, colors, side / 220)
        panels.append(caption(panel, title))
    return contact_sheet(panels, min(3, len(panels)))
