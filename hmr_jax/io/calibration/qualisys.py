"""Qualisys' calibration files (.qca.txt): XML, positions in millimetres, sensors in 64ths of a pixel."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.calibration.making import make_camera, numbers

_SUBPIXELS = 64.0
_DOWN_FORWARD = np.diag([1.0, -1.0, -1.0])  # Qualisys' cameras look along -z, with y up


def parse(text: str, of: str) -> list[ElementTree.Element]:
    """The elements of the cameras.

    Raises:
        ValueError: it is no XML, not whole, or of something else.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{of} defines entities, which calibration files of Qualisys do not.")
    try:
        elements = list(ElementTree.fromstring(text.encode()).iter("camera"))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{of} is not a whole Qualisys calibration: {error}; was it cut off?") from None
    if not elements:
        raise ValueError(f"{of} has no cameras: the calibration files in XML that are known are those of Qualisys.")
    return elements


def cameras(elements: list[ElementTree.Element], of: str, metres: float) -> list[Camera]:
    """The cameras; those that the file says were not calibrated are left out.

    Args:
        elements: of the cameras.
        of: the file, for messages.
        metres: of the unit of positions.

    Raises:
        ValueError: a camera lacks a number, or can be none.
    """
    return [_camera(element, of, metres) for element in elements if element.get("calibrated", "true") != "false"]


def _camera(element: ElementTree.Element, of: str, metres: float) -> Camera:
    name = element.get("serial", "")
    outer, inner, view = (element.find(part) for part in ("transform", "intrinsic", "fov_video"))
    if outer is None or inner is None or view is None:
        raise ValueError(f"Camera '{name}' of {of} needs a transform, an intrinsic and a fov_video.")
    try:
        attitude = [[float(outer.attrib[f"r{i}{j}"]) for j in (1, 2, 3)] for i in (1, 2, 3)]
        position = [float(outer.attrib[axis]) for axis in "xyz"]
        focal = [float(inner.attrib[f"focalLength{axis}"]) / _SUBPIXELS for axis in "UV"]
        center = [float(inner.attrib[f"centerPoint{axis}"]) / _SUBPIXELS for axis in "UV"]
        k1, k2, k3 = (float(inner.attrib[f"radialDistortion{i}"]) for i in (1, 2, 3))
        p1, p2 = (float(inner.attrib[f"tangentalDistortion{i}"]) for i in (1, 2))  # Qualisys' spelling
        skew = float(inner.get("skew", "0"))
        left, top, right, bottom = (int(view.attrib[side]) for side in ("left", "top", "right", "bottom"))
    except (KeyError, ValueError) as error:
        raise ValueError(f"Camera '{name}' of {of} lacks a number: {error}.") from None
    try:
        rotation = _DOWN_FORWARD @ numbers(attitude, (3, 3), "rotation")
        translation = -rotation @ numbers(position, (3,), "position") * metres
    except ValueError as error:
        raise ValueError(f"Camera '{name}' of {of}: {error}") from None
    # The sensor's part that the video shows begins at left, top.
    matrix = np.array([[focal[0], skew / _SUBPIXELS, center[0] - left], [0, focal[1], center[1] - top], [0, 0, 1]])
    size = (right - left + 1, bottom - top + 1)
    return make_camera(of, name, matrix, [k1, k2, p1, p2, k3], False, rotation, translation, size)
