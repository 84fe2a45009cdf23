"""Calibrated cameras with lens distortion, and Qualisys' calibration files.

World axes are the file's, in metres. Camera axes: x right, y down, z forward. Pixels: an integer coordinate is a
pixel's centre. The lens is Brown's model (Brown 1966) with the coefficients k1, k2, p1, p2, k3.

Shapes: N points.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

_SUBPIXELS = 64.0  # Qualisys counts in 64ths of a pixel
_DOWN_FORWARD = np.diag([1.0, -1.0, -1.0])  # Qualisys' cameras look along -z, with y up
_UNDISTORTIONS = 30  # iterations: each takes away all but a few hundredths of the error


@dataclass(frozen=True)
class Camera:
    """One camera."""

    name: str
    intrinsics: np.ndarray
    """(3, 3) px."""
    distortion: np.ndarray
    """(5,) k1, k2, p1, p2, k3."""
    rotation: np.ndarray
    """(3, 3) from world to camera axes."""
    translation: np.ndarray
    """(3,) metres; x_camera = rotation x_world + translation."""
    image_size: tuple[int, int]
    """Width and height of the images that the calibration is of, px."""

    @property
    def focal_length(self) -> float:
        """Mean of both axes, px."""
        return float(self.intrinsics[[0, 1], [0, 1]].mean())

    @property
    def pose(self) -> np.ndarray:
        """(3, 4) rotation and translation."""
        return np.column_stack([self.rotation, self.translation])

    def shown_at(self, width: int, height: int) -> "Camera":
        """The camera of a video of another size, into which the images were fitted: one scale for both axes, centred.

        Two videos of the demo are 1080 instead of 1088 pixels wide, with black rows above and below.
        """
        old = np.array(self.image_size)
        scale = min(width / old[0], height / old[1])
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, :2] *= scale
        intrinsics[:2, 2] = scale * (self.intrinsics[:2, 2] + 0.5 - old / 2) + np.array([width, height]) / 2 - 0.5
        return replace(self, intrinsics=intrinsics, image_size=(width, height))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) in world axes -> (..., 3) in camera axes, metres."""
        return points @ self.rotation.T + self.translation

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) in world axes -> (..., 2) px, distorted as the lens does."""
        in_camera = self.to_camera(points)
        flat = distort(in_camera[..., :2] / in_camera[..., 2:], self.distortion)
        return flat @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) px -> (..., 2) x / z and y / z in camera axes, without distortion."""
        return undistort((pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T, self.distortion)


def distort(points: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Where a lens shows points (..., 2), both in units of the focal length; coefficients (5,)."""
    k1, k2, p1, p2, k3 = coefficients
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        ],
        -1,
    )


def undistort(points: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The inverse of `distort`, by fixed-point iteration: for lenses that distort by less than a tenth or so."""
    ideal = np.array(points, np.float64)
    for _ in range(_UNDISTORTIONS):
        ideal = ideal - (distort(ideal, coefficients) - points)
    return ideal


def read_qca(path: Path) -> list[Camera]:
    """The cameras of a Qualisys file (.qca.txt), in its order.

    Raises:
        ValueError: the file is no such calibration, or a camera lacks a number.
    """
    try:
        elements = list(ElementTree.parse(path).getroot().iter("camera"))
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not a Qualisys calibration: {error}.") from None
    if not elements:
        raise ValueError(f"{path} has no cameras.")
    return [_camera(element, path) for element in elements]


def _camera(element: ElementTree.Element, path: Path) -> Camera:
    name = element.get("serial", "")
    outer, inner, view = (element.find(part) for part in ("transform", "intrinsic", "fov_video"))
    if outer is None or inner is None or view is None:
        raise ValueError(f"Camera '{name}' of {path} needs a transform, an intrinsic and a fov_video.")
    try:
        attitude = np.array([[float(outer.attrib[f"r{i}{j}"]) for j in (1, 2, 3)] for i in (1, 2, 3)])
        position = np.array([float(outer.attrib[axis]) for axis in "xyz"]) / 1000  # mm
        focal = [float(inner.attrib[f"focalLength{axis}"]) / _SUBPIXELS for axis in "UV"]
        center = [float(inner.attrib[f"centerPoint{axis}"]) / _SUBPIXELS for axis in "UV"]
        k1, k2, k3 = (float(inner.attrib[f"radialDistortion{i}"]) for i in (1, 2, 3))
        p1, p2 = (float(inner.attrib[f"tangentalDistortion{i}"]) for i in (1, 2))  # Qualisys' spelling
        left, top, right, bottom = (int(view.attrib[side]) for side in ("left", "top", "right", "bottom"))
    except (KeyError, ValueError) as error:
        raise ValueError(f"Camera '{name}' of {path} lacks a number: {error}.") from None
    rotation = _DOWN_FORWARD @ attitude
    intrinsics = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]])
    size = (right - left + 1, bottom - top + 1)
    return Camera(name, intrinsics, np.array([k1, k2, p1, p2, k3]), rotation, -rotation @ position, size)
