"""Calibrations as OpenCV's programs write them (FileStorage: YAML or JSON), and ROS' camera files.

A file is one camera, or has an entry for each; the fields have the names of OpenCV's samples, of its function
arguments, or of its matrices in textbooks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.calibration.making import make_camera, numbers

_NAMES = {
    "matrix": ("camera_matrix", "cameraMatrix", "Camera_Matrix", "intrinsic_matrix", "intrinsics", "matrix", "K"),
    "lens": (
        "distortion_coefficients", "distCoeffs", "Distortion_Coefficients", "dist_coeffs", "distortion", "distortions",
        "dist", "D",
    ),
    "rotation": ("rotation", "rotation_matrix", "R", "rvec", "Rot"),
    "translation": ("translation", "translation_vector", "T", "t", "tvec"),
    "size": ("image_size", "imageSize", "size", "imgSize", "resolution"),
    "width": ("image_width", "image_Width", "width", "W"),
    "height": ("image_height", "image_Height", "height", "H"),
    "fisheye": ("fisheye", "fisheye_model", "Calibrate_UseFisheyeModel"),
    "model": ("distortion_model", "camera_model", "model"),
    "name": ("camera_name", "name"),
}  # fmt: skip
_MODELS = {
    "plumb_bob": False, "rational_polynomial": False, "brown": False, "opencv": False, "pinhole": False,
    "equidistant": True, "fisheye": True, "opencv_fisheye": True,
}  # fmt: skip


def looks_like(text: str) -> bool:
    """Whether a text that cannot be parsed seems to be meant as such a file."""
    return any(name in text for name in (*_NAMES["matrix"][:3], *_NAMES["lens"][:3]))


def is_one(contents: Any) -> bool:
    """Whether parsed contents are such a calibration."""
    return bool(_entries(contents, ""))


def cameras(contents: Any, of: str, metres: float) -> list[Camera]:
    """The cameras.

    Args:
        contents: parsed.
        of: the file, for messages.
        metres: of the unit of translations.

    Raises:
        ValueError: there is no camera, or one that can be none.
    """
    entries = _entries(contents, Path(of).stem)
    if not entries:
        raise ValueError(f"{of} has no camera_matrix, neither by itself nor in an entry for each camera.")
    return [_camera(name, entry, of, metres) for name, entry in entries]


def _entries(contents: Any, stem: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Cameras by name: the contents, or each of their entries, or of the entries of "cameras"."""
    if isinstance(contents, Mapping):
        if _field(contents, "matrix") is not None:
            return [(str(_field(contents, "name") or stem), contents)]
        inside = contents.get("cameras", contents)
        contents = inside if isinstance(inside, list) else list(inside.items()) if isinstance(inside, Mapping) else []
    elif not isinstance(contents, list):
        return []
    found = []
    for number, entry in enumerate(contents):
        key, value = entry if isinstance(entry, tuple) else (str(number), entry)
        if isinstance(value, Mapping) and _field(value, "matrix") is not None:
            found.append((str(_field(value, "name") or key), value))
    return found


def _field(entry: Mapping[str, Any], what: str) -> Any:
    return next((entry[name] for name in _NAMES[what] if name in entry and entry[name] is not None), None)


def _camera(name: str, entry: Mapping[str, Any], of: str, metres: float) -> Camera:
    try:
        translation = _field(entry, "translation")
        if translation is not None:
            translation = numbers(matrix_of(translation), (3,), "translation") * metres
        size = _field(entry, "size")
        if size is None and (_field(entry, "width") is not None or _field(entry, "height") is not None):
            size = [_field(entry, "width"), _field(entry, "height")]
        lens, turn, matrix = (matrix_of(_field(entry, what)) for what in ("lens", "rotation", "matrix"))
        fisheye = _is_fisheye(entry)
    except ValueError as error:
        raise ValueError(f"Camera '{name}' of {of}: {error}") from None
    return make_camera(of, name, matrix, lens, fisheye, turn, translation, size)


def _is_fisheye(entry: Mapping[str, Any]) -> bool:
    model = _field(entry, "model")
    if model is not None and str(model).lower() not in _MODELS:
        raise ValueError(f"its lens model is '{model!s:.40}'; known are {', '.join(_MODELS)}.")
    flag = _field(entry, "fisheye")
    if flag not in (None, True, False, 0, 1):
        raise ValueError(f"its fisheye is {flag!r:.40}; give true or false.")
    return bool(flag) or _MODELS.get(str(model).lower(), False)


def matrix_of(value: Any) -> Any:
    """A matrix of FileStorage as an array (rows, cols); anything else as it is.

    Raises:
        ValueError: the matrix has another number of elements than it says.
    """
    if not isinstance(value, Mapping) or "data" not in value:
        return value
    try:
        rows, columns = int(value["rows"]), int(value["cols"])
        data = np.asarray(value["data"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("a matrix needs rows, cols and data of numbers.") from None
    if data.ndim != 1 or rows < 1 or columns < 1 or rows * columns != data.size:
        raise ValueError(f"a matrix of {rows}x{columns} has {data.size} numbers; was the file cut off?")
    return data.reshape(rows, columns)
