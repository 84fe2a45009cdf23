"""Calibration files of cameras, as the programs of their formats write them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.geometry.calibrated import Camera


def coefficients(camera: Camera) -> list[float]:
    """Of the lens, Brown's five."""
    return [0.0] * 5 if camera.lens is None else camera.lens.coefficients.tolist()


def qca(made: Sequence[Camera]) -> str:
    """Qualisys' text of cameras."""
    rows = []
    for camera in made:
        attitude = np.diag([1, -1, -1]) @ camera.rotation
        x, y, z = 1000 * -camera.rotation.T @ camera.translation
        k1, k2, p1, p2, k3 = coefficients(camera)
        (fx, _, cx), (_, fy, cy), _ = 64 * camera.intrinsics
        turn = " ".join(f'r{i + 1}{j + 1}="{attitude[i, j]}"' for i in range(3) for j in range(3))
        rows.append(
            f'<camera serial="{camera.name}"><fov_video left="0" top="0" right="{camera.image_size[0] - 1}" '
            f'bottom="{camera.image_size[1] - 1}"/><transform {turn} x="{x}" y="{y}" z="{z}"/>'
            f'<intrinsic focalLengthU="{fx}" focalLengthV="{fy}" centerPointU="{cx}" centerPointV="{cy}" '
            f'radialDistortion1="{k1}" radialDistortion2="{k2}" radialDistortion3="{k3}" '
            f'tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/></camera>'
        )
    return f"<calibration><cameras>{''.join(rows)}</cameras></calibration>"


def toml(made: Sequence[Camera]) -> str:
    """Pose2Sim's text of cameras."""
    parts = []
    for camera in made:
        rows = ", ".join(f"[ {', '.join(map(repr, row))}]" for row in camera.intrinsics.tolist())
        turn = Rotation.from_matrix(camera.rotation).as_rotvec().tolist()
        width, height = camera.image_size or (0, 0)
        fisheye = camera.lens is not None and camera.lens.fisheye
        parts.append(
            f'[{camera.name}]\nname = "{camera.name}"\nsize = [ {width}.0, {height}.0]\nmatrix = [ {rows}]\n'
            f"distortions = {coefficients(camera)}\nrotation = {turn}\n"
            f"translation = {camera.translation.tolist()}\nfisheye = {str(fisheye).lower()}\n\n"
        )
    return "".join(parts) + "[metadata]\nadjusted = false\nerror = 0.0\n"


def _matrix(name: str, value: np.ndarray) -> str:
    numbers = [f"{number:.17g}" for number in value.ravel()]
    numbers = [number if any(mark in number for mark in ".en") else f"{number}." for number in numbers]
    lines = [", ".join(numbers[i : i + 4]) for i in range(0, len(numbers), 4)]
    data, (rows, columns) = ",\n       ".join(lines), value.shape
    return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {data} ]\n"


def opencv_yaml(camera: Camera) -> str:
    """Text of one camera by OpenCV's sample of calibration."""
    width, height = camera.image_size or (0, 0)
    return (
        f'%YAML:1.0\n---\ncalibration_time: "Thu 12 Feb: 10:11"\nnr_of_frames: 12\nimage_width: {width}\n'
        f"image_height: {height}\nflags: 0\nfisheye_model: {int(camera.lens is not None and camera.lens.fisheye)}\n"
        + _matrix("camera_matrix", camera.intrinsics)
        + _matrix("distortion_coefficients", np.array(coefficients(camera))[:, None])
        + "avg_reprojection_error: 3.4e-01\n"
    )


def opencv_json(made: Sequence[Camera]) -> str:
    """Text of cameras by name, in OpenCV's fields."""
    return json.dumps({
        camera.name: {
            "camera_matrix": camera.intrinsics.tolist(), "distortion_coefficients": coefficients(camera),
            "R": camera.rotation.tolist(), "T": camera.translation.tolist(),
            "image_size": list(camera.image_size or ()),
        }
        for camera in made
    }, indent=1)  # fmt: skip


def easymocap(made: Sequence[Camera]) -> tuple[str, str]:
    """EasyMocap's texts of intrinsics and extrinsics."""
    head = "%YAML:1.0\n---\nnames:\n" + "".join(f'  - "{camera.name}"\n' for camera in made)
    inner, outer = [], []
    for camera in made:
        turn = Rotation.from_matrix(camera.rotation).as_rotvec()
        inner.append(_matrix(f"K_{camera.name}", camera.intrinsics))
        inner.append(_matrix(f"dist_{camera.name}", np.array(coefficients(camera))[None]))
        outer.append(_matrix(f"R_{camera.name}", turn[:, None]))
        outer.append(_matrix(f"Rot_{camera.name}", camera.rotation))
        outer.append(_matrix(f"T_{camera.name}", camera.translation[:, None]))
    return head + "".join(inner), head + "".join(outer)


def _write_easymocap(made: Sequence[Camera], folder: Path) -> Path:
    for name, text in zip(("intri.yml", "extri.yml"), easymocap(made), strict=True):
        (folder / name).write_text(text)
    return folder


def _write(name: str, text: Callable[[Sequence[Camera]], str]) -> Callable[[Sequence[Camera], Path], Path]:
    def write(made: Sequence[Camera], folder: Path) -> Path:
        (folder / name).write_text(text(made))
        return folder / name

    return write


WRITERS = {
    "qualisys": _write("Calib.qca.txt", qca),
    "pose2sim": _write("Calib.toml", toml),
    "opencv": _write("cameras.json", opencv_json),
    "easymocap": _write_easymocap,
}
"""Write cameras to a folder; return what is to be read."""
