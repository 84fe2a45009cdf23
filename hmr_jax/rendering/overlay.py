"""Bodies drawn over their photo, and the same bodies from the side and from above.

Bodies are in camera axes (x right, y down, z forward), metres, in front of the camera.

Shapes: P bodies, V vertices, F faces, H and W image, K points, n colours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from hmr_jax.rendering.contact_sheet import caption
from hmr_jax.rendering.plots import draw_errors, draw_points
from hmr_jax.rendering.shading import CLAY, project_points, render

PALETTE = np.array(
    [CLAY, (0.90, 0.66, 0.52), (0.62, 0.80, 0.62), (0.82, 0.68, 0.84), (0.90, 0.81, 0.52), (0.55, 0.79, 0.80)]
)
"""Colours of the first, second, ... body; they repeat."""
PANEL = np.array([243, 244, 246], np.uint8)
"""Background of side and top views."""
# Rows are the new right, down and forward in camera axes.
SIDE = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
"""Seen from the left edge of the photo: a person who faces the camera looks to the right."""
TOP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Seen from above: right is the photo's right, the camera is at the bottom."""
GAP = 1.0
"""Metres: largest gap in depth between people in the side and top views."""
_FAR = 200.0  # metres to the viewpoint of side and top views: so far that perspective is not visible


def draw_bodies(
    image: np.ndarray,
    bodies: Sequence[np.ndarray],
    faces: np.ndarray,
    intrinsics: np.ndarray,
    opacity: float = 0.9,
    colors: np.ndarray = PALETTE,
) -> np.ndarray:
    """Draws smoothly shaded bodies over a photo, with one depth buffer for all.

    Args:
        image: (H, W, 3) uint8.
        bodies: P arrays (V, 3).
        faces: (F, 3) of each.
        intrinsics: (3, 3), px; an integer coordinate is a pixel's centre.
        opacity: of the bodies.
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat.

    Returns:
        (H, W, 3) uint8.
    """
    made = image.copy()
    count, size = len(bodies), len(bodies[0]) if len(bodies) else 0
    every = np.concatenate([np.zeros((0, 3), np.float32), *bodies])
    centered = np.array(intrinsics, np.float64)
    centered[:2, 2] += 0.5  # `render` counts from the pixel's corner
    (left, top), (right, bottom) = _window(every, centered, image.shape)
    if right > left and bottom > top:  # only this part of the image changes
        every_face = (faces[None] + size * np.arange(count)[:, None, None]).reshape(-1, 3)
        color = np.repeat(np.asarray(colors)[np.arange(count) % len(colors)], size, 0)
        centered[:2, 2] -= left, top
        rendered, alpha = render(every, every_face, centered, bottom - top, right - left, color)
        part, share = made[top:bottom, left:right], np.float32(opacity) * alpha[..., None]
        change = rendered.astype(np.float32)
        change -= part
        change *= share
        change += part
        part[:] = np.rint(change, out=change)
    return made


def _window(vertices: np.ndarray, intrinsics: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Left and top, right and bottom (2, 2) of the pixels of an image (H, W, ...) that vertices (V, 3) may cover."""
    points = project_points(vertices[vertices[:, 2] > 0], intrinsics)[:, :2]
    if not len(points):
        return np.zeros((2, 2), int)
    edges = np.floor(points.min(0)) - 1, np.ceil(points.max(0)) + 1
    return np.clip(edges, 0, shape[1::-1]).astype(int)


def three_views(
    image: np.ndarray,
    bodies: Sequence[np.ndarray],
    faces: np.ndarray,
    intrinsics: np.ndarray,
    keypoints: Sequence[np.ndarray] = (),
    errors: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    max_side: int = 1280,
    **style: Any,
) -> np.ndarray:
    """The overlay on the photo, and next to it the bodies from the side (`SIDE`) and from above (`TOP`).

    All three panels have one scale, that of the bodies' middle in the photo, and rows of the side view are rows of the
    photo. Bodies that do not fit into a panel of the photo's size are drawn smaller there. The side and top views have
    no perspective, and larger gaps in depth between people are shortened to `GAP`, since one image says little about
    them. Bodies that reach behind the camera are left out.

    Args:
        image: (H, W, 3) uint8.
        bodies: P arrays (V, 3).
        faces: (F, 3) of each.
        intrinsics: (3, 3), px.
        keypoints: arrays (K, 2), px, drawn as dots on the photo.
        errors: points (K, 3) and their expected errors (K,), metres, drawn as rings of that size on the photo
            (`plots.draw_errors`); points behind the camera are left out.
        max_side: larger photos are shrunk to this many pixels.
        style: passed to `draw_bodies`.

    Returns:
        (H', W', 3) uint8 of the three panels side by side.
    """
    bodies = [body for body in bodies if body[:, 2].min() > 0]
    original = image.shape[1]
    image, intrinsics = _shrink(image, np.asarray(intrinsics, np.float64), max_side)
    front = draw_bodies(image, bodies, faces, intrinsics, **style)
    for points in keypoints:
        shrunk = (np.asarray(points) + 0.5) * (image.shape[1] / original) - 0.5
        front = draw_points(front, shrunk, radius=max(image.shape[:2]) / 400)
    for positions, sigma in errors:
        visible = positions[:, 2] > 0
        points = project_points(positions[visible], intrinsics)
        front = draw_errors(front, points[:, :2], sigma[visible], intrinsics[[0, 1], [0, 1]].mean() / points[:, 2])
    panels = [caption(front, "front, expected errors" if len(errors) else "front")]
    if len(bodies):
        bodies = _closer(bodies)
        corners = np.concatenate(bodies)
        middle = (corners.min(0) + corners.max(0)) / 2
        scale = intrinsics[0, 0] / middle[2]  # pixels per metre
        row = intrinsics[1, 1] * middle[1] / middle[2] + intrinsics[1, 2]
        for name, axes, at_row in (("side", SIDE, row), ("top", TOP, (image.shape[0] - 1) / 2)):
            rotated = [(body - middle) @ axes.T for body in bodies]
            panels.append(caption(_panel(rotated, faces, scale, at_row, image.shape[:2], style), name))
    return np.concatenate(panels, 1)


def _closer(bodies: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Bodies with the gaps in depth between them shortened to `GAP`, each moved along its line of sight."""
    moved = list(bodies)
    shift, end = 0.0, min(body[:, 2].min() for body in bodies)
    for number in sorted(range(len(bodies)), key=lambda number: bodies[number][:, 2].min()):
        depth = bodies[number][:, 2]
        shift += max(0.0, depth.min() - shift - end - GAP)
        moved[number] = bodies[number] - bodies[number].mean(0) * (shift / depth.mean())
        end = max(end, depth.max() - shift)
    return moved


def _panel(
    bodies: Sequence[np.ndarray], faces: np.ndarray, scale: float, row: float, size: tuple[int, int], style: dict
) -> np.ndarray:
    """Bodies around the origin, in the axes of the view, drawn without perspective."""
    height, width = size
    reach = 1.1 * np.abs(np.concatenate(bodies)[:, :2]).max(0)  # metres from the middle, with a margin
    fitting = min(scale, width / (2 * reach[0]), height / (2 * reach[1]))
    if fitting < scale:
        scale, row = fitting, (height - 1) / 2
    wide = int(np.clip(2 * scale * reach[0], min(width, 0.4 * height), width))
    return draw_from_afar(bodies, faces, scale, row, (height, wide), **style)


def draw_from_afar(
    bodies: Sequence[np.ndarray], faces: np.ndarray, scale: float, row: float, size: tuple[int, int], **style: Any
) -> np.ndarray:
    """Bodies around the origin, in the axes of the view, drawn without perspective.

    Args:
        bodies: P arrays (V, 3): right, down and forward, metres.
        faces: (F, 3) of each.
        scale: px per metre.
        row: of the origin, px; its column is the middle.
        size: rows and columns.
        style: as for `draw_bodies`; bodies are opaque.
    """
    height, width = size
    focal = scale * _FAR
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, row], [0, 0, 1]])
    far = [body + np.array([0, 0, _FAR]) for body in bodies]
    return draw_bodies(np.broadcast_to(PANEL, (height, width, 3)), far, faces, intrinsics, **{**style, "opacity": 1.0})


def _shrink(image: np.ndarray, intrinsics: np.ndarray, max_side: int) -> tuple[np.ndarray, np.ndarray]:
    factor = max_side / max(image.shape[:2])
    if factor >= 1:
        return image, intrinsics
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    scale = np.array([width / image.shape[1], height / image.shape[0]])
    shrunk = intrinsics.copy()
    shrunk[0, :2] *= scale[0]
    shrunk[1, :2] *= scale[1]
    shrunk[:2, 2] = (intrinsics[:2, 2] + 0.5) * scale - 0.5
    # With the gap, large images are first shrunk by whole factors: a third of the time, and 0.2 grey levels.
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
    return np.asarray(small), shrunk
