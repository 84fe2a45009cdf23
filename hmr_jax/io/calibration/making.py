"""From what a calibration file says of a camera to a `Camera`: one sentence for each thing that can be of none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.distortion import make_lens
from hmr_jax.geometry.intrinsics import camera_of, check_lens

FARTHEST = 300.0
"""Metres between two cameras, or from one to the world's origin if there is only one."""
_ORTHOGONAL = 1e-3  # largest entry of R R^T - 1: files round to four digits
_OUTSIDE = 0.25  # of the image's sides: how far the principal point may lie outside
_LARGEST = 1e12
_LARGEST_SIDE = 100_000  # px


def make_camera(
    of: str,
    name: str,
    matrix: Any,
    coefficients: Any = None,
    fisheye: bool = False,
    rotation: Any = None,
    translation: Any = None,
    image_size: Any = None,
) -> Camera:
    """A camera, checked.

    Args:
        of: the file, for messages.
        name: of the camera.
        matrix: (3, 3) px.
        coefficients: of the lens, for `make_lens`; None: it does not distort.
        fisheye: the model of the lens.
        rotation: from world to camera axes, (3, 3), or (3,) axis times angle in radians; None, with the translation:
            the camera was not placed.
        translation: (3,) metres.
        image_size: width and height, px, or None.

    Raises:
        ValueError: this can be no camera; the sentence says why.
    """
    where = f"Camera '{name}' of {of}"
    try:
        size = None if image_size is None else _size(image_size)
        intrinsics = _matrix(matrix, size)
        lens = None if coefficients is None else make_lens(coefficients, fisheye)
        if (rotation is None) != (translation is None):
            raise ValueError("it has only one of rotation and translation; give both, or none.")
        if lens is not None and size is not None:
            check_lens(lens, intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2], size)
        placed = rotation is not None
        turn = _rotation(rotation) if placed else np.eye(3)
        shift = _vector(translation, "translation") if placed else np.zeros(3)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return Camera(name, intrinsics, lens, turn, shift, size, placed)


def check_cameras(cameras: Sequence[Camera], of: str) -> None:
    """Raises ValueError for cameras that cannot be of one calibration."""
    if not cameras:
        raise ValueError(f"{of} has no cameras.")
    names = [camera.name for camera in cameras]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{of} has two cameras called '{twice[0]}'.")
    places = np.array([camera.position for camera in cameras if camera.placed]).reshape(-1, 3)
    if not len(places):
        return
    away = places - (places.mean(0) if len(places) > 1 else 0)
    farthest = float(np.linalg.norm(away, axis=1).max()) * (2 if len(places) > 1 else 1)
    if farthest > FARTHEST:
        raise ValueError(
            f"{of}: the cameras are up to {farthest:,.0f} m apart, so their positions are not in the unit that they "
            "were taken for: give it, as units mm or cm."
        )


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Finite float64 numbers of a shape; raises ValueError for anything else. Axes of length 1 are ignored."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its {what} is {value!r:.60}; give numbers.") from None
    if array.squeeze().shape != shape:
        raise ValueError(f"its {what} has shape {array.shape}; give {'x'.join(map(str, shape))} numbers.")
    if not (np.abs(array) < _LARGEST).all():
        raise ValueError(f"its {what} has numbers that are not finite, or too large for any camera.")
    return array.reshape(shape)


def _vector(value: Any, what: str) -> np.ndarray:
    return numbers(value, (3,), what)


def _size(value: Any) -> tuple[int, int]:
    size = numbers(value, (2,), "image size")
    if (size < 1).any() or (size > _LARGEST_SIDE).any() or (size != np.rint(size)).any():
        raise ValueError(f"its image size is {size[0]:g}x{size[1]:g}; give width and height in pixels.")
    return int(size[0]), int(size[1])


def _matrix(value: Any, size: tuple[int, int] | None) -> np.ndarray:
    matrix = numbers(value, (3, 3), "matrix of intrinsics")
    rough = size or (max(2, round(2 * abs(matrix[0, 2]))), max(2, round(2 * abs(matrix[1, 2]))))
    try:
        camera_of((min(rough[0], 10**9), min(rough[1], 10**9)), matrix)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if size is not None:
        center = matrix[:2, 2]
        out = np.maximum(-center, center - size) / size
        if (out > _OUTSIDE).any():
            raise ValueError(
                f"its principal point ({center[0]:.0f}, {center[1]:.0f}) is far outside of its image of "
                f"{size[0]}x{size[1]}: the matrix is of images of another size."
            )
    return np.array([[matrix[0, 0], 0, matrix[0, 2]], [0, matrix[1, 1], matrix[1, 2]], [0, 0, 1]])


def _rotation(value: Any) -> np.ndarray:
    if _count(value) == 3:
        turn = _vector(value, "rotation")
        if np.linalg.norm(turn) > 2 * np.pi + 1e-6:
            raise ValueError(f"its rotation vector has a length of {np.linalg.norm(turn):.4g}; give radians.")
        return Rotation.from_rotvec(turn).as_matrix()
    matrix = numbers(value, (3, 3), "rotation")
    off = np.abs(matrix @ matrix.T - np.eye(3)).max()
    if off > _ORTHOGONAL or np.linalg.det(matrix) < 0:
        reason = "mirrors" if off <= _ORTHOGONAL else f"is off an orthogonal matrix by {off:.2g}"
        raise ValueError(f"its rotation {reason}; give a rotation matrix, or axis times angle.")
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt  # without the rounding of the file


def _count(value: Any) -> int:
    """How many numbers there are in an array or in lists of equal length; 0 for anything else."""
    try:
        return int(np.asarray(value, np.float64).size)
    except (TypeError, ValueError, OverflowError):
        return 0
