"""What each camera of a capture saw: keypoints of one person, out of a video or out of files of keypoints.

Files of keypoints are npz, or folders with a file of OpenPose's JSON for each frame.

Shapes: F frames, N points of a file, K the 44 keypoints.
"""

import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from hmr_jax.body.joints import BLAZEPOSE_33, KEYPOINTS_44
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.inference.keypoint_files import arrange, read_openpose
from hmr_jax.io import atomic
from hmr_jax.io.images import is_video
from hmr_jax.io.research_files import read_plain_npz

_SAME_RATE = 1e-3


@dataclass(frozen=True)
class View:
    """What a camera saw of the person."""

    name: str
    """Of the camera."""
    keypoints: np.ndarray
    """(F, K, 3) px and confidence in [0, 1]; all 0 where there is none."""
    image_size: tuple[int, int] | None = None
    """Width and height of the frames, px, if known."""
    rate: float | None = None
    """Frames per second, if known."""


def match_inputs(cameras: Sequence[Camera], inputs: Iterable[str | Path]) -> dict[str, Path]:
    """The input of each camera, by the camera's name, in the order of the cameras; cameras without one are left out.

    An input belongs to the camera whose name is its name without ending, or stands in it; or it says so: "NAME=PATH".

    Args:
        cameras: calibrated.
        inputs: paths.

    Raises:
        ValueError: an input belongs to no camera, or to several; or two belong to one.
    """
    names, found = [camera.name for camera in cameras], dict[str, Path]()
    for given in map(str, inputs):
        name, equals, path = given.partition("=")
        if not (equals and name in names):
            path, stem = given, Path(given).stem
            fits = [one for one in names if one == stem] or [one for one in names if _stands_in(one, stem)]
            longest = max(map(len, fits), default=0)
            fits = [one for one in fits if len(one) == longest]
            if len(fits) != 1:
                which = "none" if not fits else f"{', '.join(fits)}, which are several"
                raise ValueError(
                    f"{given} belongs to no one camera by its name: of {', '.join(names)} it names {which}. Say it by "
                    f"NAME={given}."
                )
            (name,) = fits
        if name in found:
            raise ValueError(f"{found[name]} and {path} both belong to camera {name}: say which by NAME=PATH.")
        found[name] = Path(path)
    return {name: found[name] for name in names if name in found}


def _stands_in(name: str, stem: str) -> bool:
    """Whether a camera's name is a part of a file's, not amid letters or digits of the same kind."""
    before = r"(?<![0-9])" if name[:1].isdigit() else r"(?<![A-Za-z])"
    after = r"(?![0-9])" if name[-1:].isdigit() else r"(?![A-Za-z])"
    return bool(name) and re.search(before + re.escape(name) + after, stem, re.IGNORECASE) is not None


def read_view(name: str, path: Path) -> View:
    """The view of a camera out of files of keypoints.

    Args:
        name: of the camera.
        path: a folder of OpenPose's JSON, or an npz file with `keypoints` (F, N, 3) and `names` (N,).

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is something else.
    """
    if path.is_dir():
        return View(name, read_openpose_folder(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    if path.suffix.lower() != ".npz":
        kind = "a video is followed first" if is_video(path) else "it is none of them"
        raise ValueError(f"{path}: keypoints are npz files or folders of OpenPose's JSON; {kind}.")
    return _read_npz(name, path)


def write_view(path: Path, view: View, source: str = "") -> None:
    """Writes a view as an npz file, which `read_view` takes; `source` says what it is of."""
    arrays = {"keypoints": view.keypoints, "names": np.array(KEYPOINTS_44), "source": np.array(source)}
    if view.image_size is not None:
        arrays["image_size"] = np.array(view.image_size)
    if view.rate is not None:
        arrays["rate"] = np.array(view.rate)
    atomic.write_npz(path, arrays)


def source_of(path: Path) -> str:
    """What the npz file of a view says that it is of; "" where there is none, or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return str(arrays["source"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return ""


def _read_npz(name: str, path: Path) -> View:
    arrays = read_plain_npz(path)
    points, names = arrays.get("keypoints"), [str(one) for one in np.ravel(arrays.get("names", ()))]
    if points is None or not names:
        raise ValueError(f"{path} must have keypoints (F, N, 3), px and confidence, and the N names of them.")
    size, rate = arrays.get("image_size"), arrays.get("rate")
    return View(
        name, arrange(points, names, str(path)), None if size is None else (int(size[0]), int(size[1])),
        None if rate is None else float(rate),
    )  # fmt: skip


def of_landmarks(name: str, landmarks: np.ndarray, image_size: tuple[int, int], rate: float | Fraction) -> View:
    """The view of a camera by landmarks (F, 33, 3) of BlazePose, px and confidence."""
    return View(name, arrange(landmarks, BLAZEPOSE_33, name), image_size, float(rate))


def read_openpose_folder(folder: Path) -> np.ndarray:
    """The person (F, K, 3) of a folder with a file of OpenPose's JSON for each frame.

    Of several people the one is taken who is nearest to the one of the frame before, first the one of most confidence.

    Raises:
        ValueError: there are no such files, frames are missing, or a file is something else.
    """
    files = {}
    for path in folder.glob("*.json"):
        digits = re.findall(r"\d+", path.stem.removesuffix("_keypoints"))
        if not digits or (number := int(digits[-1])) in files:
            raise ValueError(f"{path}: the name needs the number of its frame, another one than other files have.")
        files[number] = path
    if not files:
        raise ValueError(f"The folder {folder} has no JSON files of OpenPose.")
    first, count = min(files), max(files) - min(files) + 1
    if missing := [number for number in range(first, first + count) if number not in files]:
        raise ValueError(f"{folder} has no frame {missing[0]}, and {len(missing)} are missing: write a file for each.")
    made, last = np.zeros((count, len(KEYPOINTS_44), 3)), None
    for row in range(count):
        people = read_openpose(files[first + row])
        if len(people):
            last = made[row] = max(people, key=_likeness(last))
    return made


def _likeness(last: np.ndarray | None) -> Callable[[np.ndarray], float]:
    """How much a person (K, 3) is the one of the frame before."""

    def of(person: np.ndarray) -> float:
        if last is None or not (both := (person[:, 2] > 0) & (last[:, 2] > 0)).any():
            return float(person[:, 2].sum()) - 1e9 * (last is not None)
        return -float(np.median(np.linalg.norm(person[both, :2] - last[both, :2], axis=1)))

    return of


def same_rate(views: Sequence[View]) -> float | None:
    """Frames per second of all views; None if none knows it.

    Raises:
        ValueError: they have different ones.
    """
    rates = {view.name: view.rate for view in views if view.rate is not None}
    if rates and max(rates.values()) - min(rates.values()) > _SAME_RATE * max(rates.values()):
        told = ", ".join(f"{name} {rate:.4g}" for name, rate in rates.items())
        raise ValueError(f"The views have different frame rates ({told} a second): they must show the same moments.")
    return next(iter(rates.values()), None)
