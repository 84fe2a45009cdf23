"""Calibration files of cameras, each recognised by what is in it.

- Qualisys (.qca.txt), XML in millimetres and 64ths of a pixel;
- Pose2Sim, Anipose, FreeMoCap and Caliscope (.toml);
- OpenCV's FileStorage (.yml, .yaml) and the same fields in JSON;
- EasyMocap's intri.yml and extri.yml: either of them, or their folder.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io.calibration import easymocap, opencv, pose2sim, qualisys
from hmr_jax.io.calibration.making import check_cameras
from hmr_jax.io.calibration.simple_yaml import parse_yaml

Units = Literal["m", "cm", "mm"]
METRES: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
KNOWN = "Qualisys (.qca.txt), Pose2Sim or Anipose (.toml), OpenCV (.yml, .json) or EasyMocap (intri.yml, extri.yml)"
_LARGEST = 2**26  # bytes


def read_calibration(path: str | Path, units: Units | None = None) -> list[Camera]:
    """The cameras of a calibration file, in its order.

    Args:
        path: of the file; or a folder with EasyMocap's intri.yml and extri.yml.
        units: of the cameras' positions; None: as the format has it, millimetres for Qualisys and metres for others.

    Returns:
        One camera or more, their names all different.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no calibration file, or what it says can be of no camera.
    """
    path = Path(path).expanduser()
    if units is not None and units not in METRES:
        raise ValueError(f"Units '{units}': give {', '.join(METRES)}.")
    if path.is_dir():
        found = [path / name for name in easymocap.NAMES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"The folder {path} has no {' and '.join(easymocap.NAMES)}: name a file.")
        path = found[0]
    text = read_text(path)
    kind, contents = _recognised(text, path)
    metres = METRES[units] if units else METRES["mm"] if kind is qualisys else METRES["m"]
    if kind is easymocap:
        contents = _with_other_half(contents, path)
    cameras = kind.cameras(contents, str(path), metres)
    check_cameras(cameras, str(path))
    return cameras


def read_text(path: Path) -> str:
    """The text of a calibration file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is too large, or no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no calibration file {path}.")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is too large for a calibration file, {path.stat().st_size / 2**20:.0f} MiB.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8; calibration files are: {KNOWN}.") from None


def _recognised(text: str, path: Path) -> tuple[Any, Any]:
    """The module that reads a format, and the parsed text."""
    start = text.lstrip()
    if not start:
        raise ValueError(f"{path} is empty.")
    if start.startswith("<"):
        return qualisys, qualisys.parse(text, str(path))
    if start.startswith("%YAML"):
        return _of_yaml(parse_yaml(text, str(path)), path)
    if start.startswith("{"):
        return opencv, _json(text, path)
    try:
        return pose2sim, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if pose2sim.looks_like(text):
            raise ValueError(f"{path} is no whole TOML file ({_one_line(error)}); was it cut off?") from None
    if start.startswith("["):
        return opencv, _json(text, path)
    try:
        return _of_yaml(parse_yaml(text, str(path)), path)
    except ValueError:
        if opencv.looks_like(text) or easymocap.looks_like(text):
            raise
        raise ValueError(f"{path} is no calibration file that is known: {KNOWN}.") from None


def _of_yaml(contents: dict[str, Any], path: Path) -> tuple[Any, dict[str, Any]]:
    if easymocap.is_one(contents):
        return easymocap, contents
    if not opencv.is_one(contents):
        raise ValueError(f"{path} has neither camera_matrix nor EasyMocap's K_NAME; calibration files are: {KNOWN}.")
    return opencv, contents


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({_one_line(error)}); was it cut off?") from None


def _with_other_half(contents: dict[str, Any], path: Path) -> dict[str, Any]:
    """Intrinsics and extrinsics of EasyMocap, of which one was read."""
    intrinsic, extrinsic = easymocap.halves(contents)
    if intrinsic and extrinsic:
        return contents
    other = path.with_name(easymocap.NAMES[1 if intrinsic else 0])
    if not other.is_file() or other.resolve() == path.resolve():
        raise FileNotFoundError(f"{path} is one of EasyMocap's two files: put {other.name} beside it.")
    return parse_yaml(read_text(other), str(other)) | contents


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
