"""Recordings for the viewer of Rerun (.rrd): images, bodies and the camera in space, over time. It needs `rerun-sdk`.

    rerun NAME.rrd

Shapes: V vertices, F faces, T frames, P people, K keypoints, H, W an image.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmr_jax.io import atomic
from hmr_jax.rendering.overlay import PALETTE


class Body(NamedTuple):
    """A body at a moment, in camera axes (x right, y down, z forward), metres."""

    number: int
    """Of the person."""
    vertices: np.ndarray
    """(V, 3), placed."""
    keypoints: np.ndarray
    """(K, 2) px."""
    box: np.ndarray
    """(4,) left, top, right, bottom, px."""


class View(NamedTuple):
    """What the camera is."""

    focal_length: np.ndarray
    """(2,) px."""
    principal_point: np.ndarray
    """(2,) px."""
    size: tuple[int, int]
    """Width and height, px."""


def check_rerun() -> Any:
    """Rerun's SDK; ImportError with what to do where it is missing."""
    try:
        import rerun
    except ImportError:
        raise ImportError("Recordings for Rerun need rerun-sdk: pip install rerun-sdk, or leave rrd out.") from None
    return rerun


def write_rerun(
    path: Path, title: str, view: View, faces: np.ndarray,
    moments: Iterable[tuple[float, np.ndarray | None, Sequence[Body]]],
) -> None:  # fmt: skip
    """Writes a recording.

    Args:
        path: of the file.
        title: of the recording.
        view: of the camera.
        faces: (F, 3) of the bodies.
        moments: seconds, ascending, the image (H, W, 3) uint8 RGB or None, and the people there.

    Raises:
        ImportError: rerun-sdk is not installed.
    """
    rerun = check_rerun()
    with atomic.writing(path) as part, _recording(rerun, part, title) as recording:
        recording.log("world", rerun.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)
        recording.log("world/camera", rerun.Pinhole(
            focal_length=view.focal_length, principal_point=view.principal_point, resolution=view.size,
            camera_xyz=rerun.ViewCoordinates.RDF,
        ), static=True)  # fmt: skip
        known: set[int] = set()
        shown: set[int] = set()
        for seconds, image, bodies in moments:
            recording.set_time("time", duration=seconds)
            if image is not None:
                recording.log("world/camera", rerun.Image(image).compress(jpeg_quality=85))
            for body in bodies:
                color = (255 * PALETTE[body.number % len(PALETTE)]).astype(int).tolist()
                mesh, seen = f"world/person_{body.number}", f"world/camera/person_{body.number}"
                if body.number not in known:
                    recording.log(mesh, rerun.Mesh3D.from_fields(
                        triangle_indices=faces, albedo_factor=[*color, 255]), static=True)  # fmt: skip
                recording.log(mesh, rerun.Mesh3D.from_fields(vertex_positions=body.vertices.astype(np.float32)))
                recording.log(f"{seen}/keypoints", rerun.Points2D(body.keypoints, colors=color))
                recording.log(f"{seen}/box", rerun.Boxes2D(array=body.box, array_format=rerun.Box2DFormat.XYXY))
            now = {body.number for body in bodies}
            for number in shown - now:
                recording.log(f"world/person_{number}", rerun.Mesh3D.from_fields(vertex_positions=[]))
                recording.log(f"world/camera/person_{number}", rerun.Clear(recursive=True))
            known, shown = known | now, now


@contextmanager
def _recording(rerun: Any, path: Path, title: str) -> Iterator[Any]:
    recording = rerun.RecordingStream("hmr_jax", recording_id=title)
    recording.save(path)
    try:
        yield recording
    finally:
        recording.flush()
        recording.disconnect()
