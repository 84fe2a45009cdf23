"""A page of one file in which bodies move: three.js, a time slider, and the video beside it.

three.js is that of trimesh's viewer, so the page needs no network.
"""

import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any, NamedTuple

_LAST = "THREE.GLTFLoader=GLTFLoader;})();"  # of three.js in trimesh's page; its own program follows


class Model(NamedTuple):
    """A moving body."""

    glb: bytes
    """With one animation, in glTF's axes, of which the origin is the camera."""
    start: float
    """Seconds at which it appears, the first of its animation."""
    end: float
    """Seconds at which it disappears."""


def player_page(
    title: str, models: Sequence[Model], duration: float, rate: float, fov: float, video: bytes = b""
) -> str:
    """The page.

    Args:
        title: of the page.
        models: the bodies.
        duration: seconds.
        rate: frames per second, the steps of the slider.
        fov: degrees of the camera's view from top to bottom.
        video: an mp4 file that is shown beside, or b"".
    """
    bodies = [{"glb": base64.b64encode(one.glb).decode(), "start": one.start, "end": one.end} for one in models]
    scene = {"models": bodies, "duration": duration, "rate": rate, "fov": fov}
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
