"""A scene of bodies and their camera, served to a browser by viser. It needs `viser`.

Shapes: V vertices, F faces, H, W an image.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from hmr_jax.rendering.overlay import PALETTE

_NEAR = 0.5  # metres from the camera to where its image is shown
_BACK, _ASIDE, _ABOVE = 1.0, 1.5, 0.7  # metres from the camera to who looks at the scene


class Moment(NamedTuple):
    """What is seen at once, in camera axes (x right, y down, z forward), metres."""

    bodies: Mapping[int, np.ndarray]
    """(V, 3) of each person by number, placed."""
    fov: float
    """Radians of the camera's view from top to bottom."""
    aspect: float
    """Width to height of its image."""
    image: np.ndarray | None = None
    """(H, W, 3) uint8 RGB."""


def check_viser() -> Any:
    """The package viser; ImportError with what to do where it is missing."""
    try:
        import viser
    except ImportError:
        raise ImportError("Live scenes need viser: pip install 'hmr_jax[viewer]'.") from None
    return viser


def serve_scene(
    faces: np.ndarray, at: Callable[[int], Moment], names: list[str], host: str = "127.0.0.1", port: int = 8080
) -> Any:
    """Serves a scene until its `stop` is called; viser prints the address.

    Args:
        faces: (F, 3) of the bodies.
        at: the moment of a number.
        names: of the moments, one or more; several have a slider.
        host: address to listen at.
        port: to listen at; where it is taken, the next free one is.

    Returns:
        viser's server: `get_port()` and `stop()`.

    Raises:
        ImportError: viser is not installed.
    """
    server = check_viser().ViserServer(host, port, label="hmr_jax", verbose=False)
    server.scene.set_up_direction("-y")
    server.gui.configure_theme(show_logo=False, show_share_button=False)  # sharing would send it out of this computer
    shown: dict[int, Any] = {}
    name = server.gui.add_markdown("")
    focus = np.mean([body.mean(0) for body in at(0).bodies.values()] or [[0.0, 0.0, 3.0]], axis=0)
    server.initial_camera.position = np.array([focus[0] + _ASIDE, -_ABOVE, -_BACK])
    server.initial_camera.look_at = focus

    def show(number: int) -> None:
        moment = at(number)
        with server.atomic():
            for person, vertices in moment.bodies.items():
                if person in shown:
                    shown[person].vertices = vertices.astype(np.float32)
                else:
                    color = tuple((255 * PALETTE[person % len(PALETTE)]).astype(int).tolist())
                    shown[person] = server.scene.add_mesh_simple(f"/person_{person}", vertices, faces, color=color)
            for person, mesh in shown.items():
                mesh.visible = person in moment.bodies
            server.scene.add_camera_frustum(
                "/camera", moment.fov, moment.aspect, scale=_NEAR, image=moment.image, format="jpeg"
            )
            name.content = names[number]

    show(0)
    if len(names) > 1:
        slider = server.gui.add_slider("moment", 0, len(names) - 1, 1, 0)
        slider.on_update(lambda _: show(slider.value))
    return server
