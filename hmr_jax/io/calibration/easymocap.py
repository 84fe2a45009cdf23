"""EasyMocap's calibration: intri.yml with K_NAME and dist_NAME, extri.yml with R_NAME, Rot_NAME and T_NAME.

`names` lists the cameras. R is axis times angle, Rot the same as a matrix; T is in metres. H_NAME and W_NAME, the
images' size, are optional.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.calibration.making import make_camera, numbers
from hmr_jax.io.calibration.opencv import matrix_of

NAMES = ("intri.yml", "extri.yml")
_AGREE = 1e-3  # largest difference of the two forms of a rotation


def looks_like(text: str) -> bool:
    """Whether a text that cannot be parsed seems to be meant as such a file."""
    return "!!opencv-matrix" in text and any(part in text for part in ("\nK_", "\nRot_", "\nT_"))


def is_one(contents: Mapping[str, Any]) -> bool:
    """Whether parsed contents are such a file."""
    return any(halves(contents)) and isinstance(contents.get("names"), list)


def halves(contents: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether they have intrinsics, and extrinsics."""
    return tuple(any(str(key).startswith(part) for key in contents) for part in ("K_", "T_"))  # type: ignore[return-value]


def cameras(contents: Mapping[str, Any], of: str, metres: float) -> list[Camera]:
    """The cameras.

    Args:
        contents: of both files.
        of: one of them, for messages.
        metres: of the unit of translations.

    Raises:
        ValueError: a camera lacks something, or can be none.
    """
    return [_camera(contents, str(name), of, metres) for name in contents["names"]]


def _camera(contents: Mapping[str, Any], name: str, of: str, metres: float) -> Camera:
    def field(part: str) -> Any:
        return matrix_of(contents.get(f"{part}_{name}"))

    try:
        matrix, translation = field("K"), field("T")
        vector, rotation = field("R"), field("Rot")
        for part, value in (("K", matrix), ("T", translation)):
            if value is None:
                raise ValueError(f"the files have no {part}_{name}.")
        if vector is None and rotation is None:
            raise ValueError(f"the files have neither R_{name} nor Rot_{name}.")
        translation = numbers(translation, (3,), "translation") * metres
        if vector is not None:
            vector = numbers(vector, (3,), "rotation")
        width, height = field("W"), field("H")
        size = None if width is None or height is None else [width, height]
        lens = field("dist") if f"dist_{name}" in contents else field("D")
    except ValueError as error:
        raise ValueError(f"Camera '{name}' of {of}: {error}") from None
    made = make_camera(of, name, matrix, lens, False, vector if rotation is None else rotation, translation, size)
    if rotation is not None and vector is not None:
        other = make_camera(of, name, matrix, None, False, vector, translation, size)
        if np.abs(other.rotation - made.rotation).max() > _AGREE:
            raise ValueError(f"Camera '{name}' of {of}: R_{name} and Rot_{name} are different rotations.")
    return made
