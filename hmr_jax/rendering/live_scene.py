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


def view_angle(height: float, focal_length: float) -> float:
    """Radians from top to bottom of an image of a height, for a focal length along y, both in px."""
    return float(2 * np.arctan2(height / 2, focal_length))


def check_viser() -> Any:
    """The package viser; ImportError with what to do where it is missing."""
    try:
        import viser
    except ImportError:
        raise ImportError("Live scenes need viser: pip install 'hmr_jax[viewer]'.") from None
    return viser


class LiveScene:
    """A page on which one moment after the other is shown."""

    def __init__(self, faces: np.ndarray, host: str = "127.0.0.1", port: int = 8080):
        """Serves an empty scene; viser prints the address.

        Args:
            faces: (F, 3) of the bodies.
            host: address to listen at.
            port: to listen at; where it is taken, the next free one is.

        Raises:
            ImportError: viser is not installed.
        """
        self.server = check_viser().ViserServer(host, port, label="hmr_jax", verbose=False)
        """viser's: `get_port()` and `stop()`."""
        self.server.scene.set_up_direction("-y")
        self.server.gui.configure_theme(show_logo=False, show_share_button=False)  # sharing sends it to the internet
        self._faces, self._meshes = faces, dict[int, Any]()
        self._name = self.server.gui.add_markdown("")

    def look_at(self, moment: Moment) -> None:
        """Lets who opens the page look at the bodies of a moment, from the right and above."""
        focus = np.mean([body.mean(0) for body in moment.bodies.values()] or [[0.0, 0.0, 3.0]], axis=0)
        self.server.initial_camera.position = np.array([focus[0] + _ASIDE, -_ABOVE, -_BACK])
        self.server.initial_camera.look_at = focus

    def show(self, moment: Moment, name: str) -> None:
        """Shows a moment in place of the last one, and its name."""
        scene = self.server.scene
        with self.server.atomic():
            for person, vertices in moment.bodies.items():
                if person in self._meshes:
                    self._meshes[person].vertices = vertices.astype(np.float32)
                else:
                    color = tuple((255 * PALETTE[person % len(PALETTE)]).astype(int).tolist())
                    mesh = scene.add_mesh_simple(f"/person_{person}", vertices, self._faces, color=color)
                    self._meshes[person] = mesh
            for person, mesh in self._meshes.items():
                mesh.visible = person in moment.bodies
            scene.add_camera_frustum(
                "/camera", moment.fov, moment.aspect, scale=_NEAR, image=moment.image, format="jpeg"
            )
            self._name.content = name


def serve_scene(
    faces: np.ndarray, at: Callable[[int], Moment], names: list[str], host: str = "127.0.0.1", port: int = 8080
) -> Any:
    """Serves a scene until its `stop` is called.

    Args:
        faces: as of `LiveScene`.
        at: the moment of a number.
        names: of the moments, one or more; several have a slider.
        host: as of `LiveScene`.
        port: as of `LiveScene`.

    Returns:
        viser's server: `get_port()` and `stop()`.

    Raises:
        ImportError: viser is not installed.
    """
    scene = LiveScene(faces, host, port)
    scene.look_at(at(0))
    scene.show(at(0), names[0])
    if len(names) > 1:
        slider = scene.server.gui.add_slider("moment", 0, len(names) - 1, 1, 0)
        slider.on_update(lambda _: scene.show(at(slider.value), names[slider.value]))
    return scene.server
