"""Pages of one file with bodies that mouse, touch and keyboard turn, still or moving beside their video.

three.js is that of trimesh's viewer, so the pages need no network.

Shapes: P bodies, V vertices, F faces, n colours.
"""

import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any, NamedTuple

import numpy as np

from hmr_jax.rendering.export import scene_glb

_LAST = "THREE.GLTFLoader=GLTFLoader;})();"  # of three.js in trimesh's page; its own program follows


_FIELD_OF_VIEW = 45.0  # degrees, of still bodies from top to bottom


class Model(NamedTuple):
    """A moving body."""

    glb: bytes
    """With one animation or none, in glTF's axes, of which the origin is the camera."""
    start: float
    """Seconds at which it appears, the first of its animation."""
    end: float
    """Seconds at which it disappears."""


def viewer_page(title: str, bodies: Sequence[np.ndarray], faces: np.ndarray, colors: np.ndarray) -> str:
    """A page of bodies that stand still, seen from the front.

    Args:
        title: of the page.
        bodies: P arrays (V, 3) in camera axes (y down), metres, where they are to each other.
        faces: (F, 3) of each.
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat.
    """
    corners = np.concatenate(bodies).astype(np.float64)
    middle, size = (corners.min(0) + corners.max(0)) / 2, np.ptp(corners, axis=0)
    glb = scene_glb([body - middle for body in bodies], faces, np.zeros((len(bodies), 3)), colors)
    return player_page(title, [Model(glb, 0.0, 0.0)], 0.0, 1.0, _FIELD_OF_VIEW, size=size.tolist())


def player_page(
    title: str, models: Sequence[Model], duration: float, rate: float, fov: float, video: bytes = b"",
    aspect: float | None = None, size: Sequence[float] | None = None,
) -> str:  # fmt: skip
    """A page of bodies that move.

    Args:
        title: of the page.
        models: the bodies.
        duration: seconds; 0: nothing moves, and the page has no clock.
        rate: frames per second, the steps of the slider.
        fov: degrees of the camera's view from top to bottom.
        video: an mp4 file that is shown beside, or b"".
        aspect: width to height of what the camera sees, which is seen in windows of any; None: of the window.
        size: width, height and depth about the origin that are seen first, metres; None: what the camera sees.
    """
    bodies = [{"glb": base64.b64encode(one.glb).decode(), "start": one.start, "end": one.end} for one in models]
    scene = {"models": bodies, "duration": duration, "rate": rate, "fov": fov, "aspect": aspect, "size": size}
    source = f"data:video/mp4;base64,{base64.b64encode(video).decode()}"
    shown = f'<video id="video" src="{source}" muted playsinline tabindex="-1"></video>' if video else ""
    folder = resources.files("hmr_jax") / "assets" / "player"
    template = Template((folder / "player.html").read_text())
    return template.substitute(
        title=html.escape(title), video=shown, library=_three(), scene=json.dumps(scene),
        program=(folder / "player.js").read_text(),
    )  # fmt: skip


def _three() -> str:
    """three.js with its loader of glTF, out of trimesh's template."""
    from trimesh import resources as of_trimesh
    from trimesh import util

    archive: Any = util.decompress(of_trimesh.get_bytes("templates/viewer.zip"), file_type="zip")
    page = archive["viewer.html.template"].read().decode()
    start, end = page.index("<script>") + len("<script>"), page.index(_LAST) + len(_LAST)
    return page[start:end]
