"""Bodies of a capture over frames of its videos, to see whether they fit.

Shapes: H, W a frame.
"""

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from hmr_jax.inference.placing import bend
from hmr_jax.io import atomic
from hmr_jax.io.images import is_video
from hmr_jax.rendering.contact_sheet import caption, contact_sheet
from hmr_jax.rendering.overlay import draw_bodies
from hmr_jax.video.capture.result import Capture
from hmr_jax.video.frames import read_frames
from hmr_jax.video.posing import Posing

MOMENTS = 4
_HEIGHT = 480  # px of a frame on the sheet


def write_overlay(capture: Capture, folder: Path) -> list[Path]:
    """Writes `capture_overlay.jpg`, a row for each camera with a video, and returns it; nothing without videos.

    Args:
        capture: whose sources are paths.
        folder: of the results.
    """
    posed = np.flatnonzero(capture.bodies.posed)
    moments = posed[np.linspace(0, len(posed) - 1, min(MOMENTS, len(posed))).round().astype(int)].tolist()
    posing, shown = Posing(capture.body), []
    bodies = {
        moment: posing.vertices(capture.bodies.betas, capture.bodies.rotations[moment])
        + capture.bodies.translation[moment]
        for moment in moments
    }
    for camera in capture.cameras:
        path = Path(capture.sources.get(camera.name, ""))
        if not is_video(path):
            continue
        for moment, frame in enumerate(itertools.islice(read_frames(path), moments[-1] + 1)):
            if moment in bodies:
                body = bend(camera.to_camera(bodies[moment]), camera.lens)
                drawn = draw_bodies(frame.image, [body], capture.body.faces, camera.intrinsics, opacity=0.7)
                shown.append(caption(_of_height(drawn), f"{camera.name}, frame {moment}"))
    if not shown:
        return []
    width = max(image.shape[1] for image in shown)
    padded = [np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0))) for image in shown]
    file = folder / "capture_overlay.jpg"
    with atomic.writing(file) as part:
        Image.fromarray(contact_sheet(padded, len(moments))).save(part, "jpeg", quality=90)
    return [file]


def _of_height(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * _HEIGHT / height), _HEIGHT)))
