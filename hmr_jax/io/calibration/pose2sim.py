"""Pose2Sim's calibration files (.toml), which are also those of Anipose, FreeMoCap and Caliscope.

A table for each camera: name, size, matrix, distortions, rotation (axis times angle), translation, fisheye.
"""

from collections.abc import Mapping
from typing import Any

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.calibration.making import make_camera, numbers

_OTHER = ("metadata", "capture_volume", "charuco", "checkerboard")  # tables of no camera
_NEEDED = ("matrix", "distortions", "rotation", "translation")


def looks_like(text: str) -> bool:
    """Whether a text that is no TOML seems to be meant as such a file."""
    return any(line.strip().startswith(("matrix = [", "distortions = [")) for line in text.splitlines())


def cameras(tables: Mapping[str, Any], of: str, metres: float) -> list[Camera]:
    """The cameras.

    Args:
        tables: of the file.
        of: the file, for messages.
        metres: of the unit of translations.

    Raises:
        ValueError: a camera lacks something, or can be none.
    """
    found = []
    for key, table in tables.items():
        if key in _OTHER or not isinstance(table, Mapping):
            continue
        name = str(table.get("name", key))
        if missing := [field for field in _NEEDED if field not in table]:
            raise ValueError(f"Camera '{name}' of {of} has no {' and no '.join(missing)}.")
        fisheye = table.get("fisheye", False)
        if not isinstance(fisheye, bool):
            raise ValueError(f"Camera '{name}' of {of}: fisheye is {fisheye!r:.40}; give true or false.")
        try:
            translation = numbers(table["translation"], (3,), "translation") * metres
        except ValueError as error:
            raise ValueError(f"Camera '{name}' of {of}: {error}") from None
        matrix, lens, turn = (table[field] for field in ("matrix", "distortions", "rotation"))
        found.append(make_camera(of, name, matrix, lens, fisheye, turn, translation, table.get("size")))
    if not found:
        raise ValueError(f"{of} has no cameras: each is a table with {', '.join(_NEEDED)}.")
    return found
