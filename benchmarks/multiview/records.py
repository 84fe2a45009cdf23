"""Moments of a capture as images and a file of the format `hmr-jax-capture-1`, which the builder `mlb_pitch` reads.

Shapes: V views, M moments, J joints.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.multiview.joints import JOINTS
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.json_files import write_json

DOUBTFUL = 25.0
"""Joints with a larger reprojection error, px, are not labelled."""
HALF = 10.0
"""Reprojection error, px, at which a label's confidence is a half."""
_ABOVE, _BELOW, _ASIDE = 0.22, 0.05, 0.04  # room around the joints for head, feet and sides, in units of their extent


@dataclass(frozen=True)
class Truth:
    """Joints of one person at some moments."""

    frames: np.ndarray
    """(M,) numbers of the videos' frames."""
    world: np.ndarray
    """(M, J, 3) metres, world axes."""
    error: np.ndarray
    """(M, J) reprojection error, px."""

    @property
    def confidence(self) -> np.ndarray:
        """(M, J) in [0, 1]; 0: not labelled."""
        return np.where(self.error < DOUBTFUL, 1 / (1 + (self.error / HALF) ** 2), 0)


@dataclass(frozen=True)
class View:
    """The person at one moment in one camera."""

    image: Path
    camera: str
    box: np.ndarray
    """(4,) left, top, right, bottom, px."""
    pixels: np.ndarray
    """(J, 2) px."""
    joints: np.ndarray
    """(J, 3) metres, camera axes."""
    confidence: np.ndarray
    """(J,)."""


def box_of_joints(pixels: np.ndarray) -> np.ndarray:
    """(J, 2) px -> (4,) box of the person: with a head above the shoulders, and feet."""
    low, high = pixels.min(0), pixels.max(0)
    width, height = high - low
    return np.array([low[0] - _ASIDE * width, low[1] - _ABOVE * height,
                     high[0] + _ASIDE * width, high[1] + _BELOW * height])  # fmt: skip


def views_of(truth: Truth, cameras: list[Camera], folder: Path) -> list[View]:
    """The views of all moments, camera by camera; images are to be at folder/images/CAMERA/FRAME.jpg."""
    views = []
    for camera in cameras:
        for frame, world, confidence in zip(truth.frames, truth.world, truth.confidence, strict=True):
            image = folder / "images" / camera.name / f"{frame:04d}.jpg"
            pixels = camera.project(world)
            views.append(View(image, camera.name, box_of_joints(pixels), pixels, camera.to_camera(world), confidence))
    return views


def write_images(views: list[View], frames: dict[str, dict[int, np.ndarray]]) -> None:
    """Writes the image of each view, out of frames (H, W, 3) uint8 by camera and number."""
    for view in views:
        view.image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frames[view.camera][int(view.image.stem)]).save(view.image, quality=95)


def write_capture(truth: Truth, cameras: list[Camera], views: list[View], folder: Path) -> Path:
    """Writes folder/test.json, whose images lie beside it, and returns its path."""
    moments = {int(frame): row for row, frame in enumerate(truth.frames)}
    people = [
        {
            "image": view.image.relative_to(folder).as_posix(), "camera": view.camera, "id": "person",
            "keypoints_2d": _rows(view.pixels, view.confidence),
            "keypoints_3d": _rows(truth.world[moments[int(view.image.stem)]], view.confidence),
            "box": view.box.tolist(),
        }
        for view in views
    ]  # fmt: skip
    described = {
        camera.name: {
            "intrinsics": camera.intrinsics.tolist(),
            "rotation": camera.rotation.tolist(),
            "translation": camera.translation.tolist(),
        }
        for camera in cameras
    }
    path = folder / "test.json"
    contents = {
        "format": "hmr-jax-capture-1", "units": "m", "axes": "world", "pixels": "centers",
        "joints": list(JOINTS), "cameras": described, "people": people,
    }  # fmt: skip
    write_json(path, contents)
    return path


def _rows(points: np.ndarray, confidence: np.ndarray) -> list:
    return [[*point, float(c)] if c > 0 else None for point, c in zip(points.tolist(), confidence, strict=True)]
