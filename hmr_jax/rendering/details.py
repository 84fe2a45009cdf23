"""Further outputs of a network, drawn on its crop: expected errors, silhouette, gates of the fusion.

Shapes: S side of the crop, K keypoints, L blocks, h and w size of a map over the part that the encoder sees.
"""

import numpy as np
from PIL import Image

from hmr_jax.rendering.contact_sheet import caption, contact_sheet
from hmr_jax.rendering.plots import draw_errors

_DIM = 0.55  # brightness of the crop under maps


def draw_details(
    crop: np.ndarray,
    seen_width: float,
    keypoints: np.ndarray | None = None,
    sigma: np.ndarray | None = None,
    scale: float = 1.0,
    silhouette: np.ndarray | None = None,
    gates: np.ndarray | None = None,
    side: int = 360,
) -> np.ndarray:
    """Panels in a row: keypoints in rings as large as their expected error, the silhouette, the gates of each block.

    Args:
        crop: (S, S, 3) uint8.
        seen_width: share of the crop's width that the encoder sees.
        keypoints: (K, 2) in crop coordinates, which span [-0.5, 0.5].
        sigma: (K,) expected errors, metres; drawn with the keypoints.
        scale: weak-perspective scale of the camera: a metre is scale / 2 of the crop's side.
        silhouette: (h, w) probability of the person.
        gates: (L, h, w, 3) shares of image, depth-attended image and depth: red, green and blue.
        side: of a panel, px.

    Returns:
        The panels, uint8.
    """
    image = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BICUBIC))
    panels = []
    if keypoints is not None and sigma is not None:
        dimmed = (image * _DIM).astype(np.uint8)
        panels.append(caption(draw_errors(dimmed, (keypoints + 0.5) * side, sigma, scale * side / 2), "expected error"))
    if silhouette is not None:
        tint = np.stack([np.zeros_like(silhouette), silhouette, silhouette], -1)
        panels.append(caption(_blend_map(image, tint, seen_width), "silhouette"))
    for block, shares in enumerate(() if gates is None else gates):
        panels.append(caption(_blend_map(image, shares, seen_width), f"gates of block {block + 1}"))
    return contact_sheet(panels, len(panels))


def _blend_map(image: np.ndarray, colors: np.ndarray, seen_width: float) -> np.ndarray:
    """Blends a map (h, w, 3) of colours in [0, 1] with the columns that the encoder sees."""
    side = len(image)
    width = round(seen_width * side)
    small = Image.fromarray(np.rint(255 * np.clip(colors, 0, 1)).astype(np.uint8))
    large = np.asarray(small.resize((width, side), Image.Resampling.BILINEAR))
    mixed = image * _DIM
    left = (side - width) // 2
    mixed[:, left : left + width] += (1 - _DIM) * large
    return mixed.astype(np.uint8)
