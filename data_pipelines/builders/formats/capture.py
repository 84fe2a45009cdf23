"""A format for any motion capture: images, and a JSON file with named 2-D and 3-D joints, units and cameras.

    {
      "format": "hmr-jax-capture-1",
      "units": "m",                                  m, cm, mm, in or ft: of keypoints_3d and translations
      "axes": "world",                               of keypoints_3d: "world", or "camera"
      "pixels": "centers",                           (0, 0) is the first pixel's centre, or "corners": its corner
      "joints": ["right_ankle", "right_knee", ...],  what the rows of the keypoints are, see `JOINTS`
      "cameras": {"home": {"intrinsics": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
                           "rotation": 3 x 3, "translation": [x, y, z]}},    x_camera = rotation x_world + translation
      "people": [{"image": "images/0001.jpg", "camera": "home", "id": "pitcher-17",
                  "keypoints_2d": [[x, y, confidence] or [x, y] or null, ...],
                  "keypoints_3d": [[x, y, z, confidence] or [x, y, z] or null, ...],
                  "box": [left, top, right, bottom]}, ...]
    }

Camera axes: x right, y down, z forward. Paths are relative to the JSON file's folder. A person needs `image` and one
kind of keypoints, and `camera` where there are 3-D keypoints in world axes. "id" tells people of one image apart.

`read` checks a file and says in sentences what is wrong; `Capture.person` gives a person's labels as records have them.
"""

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.labels.keypoints import SIZES, clip_confidence, person_size
from data_pipelines.builders.labels.label_files import read_json
from data_pipelines.builders.labels.projection import project
from data_pipelines.records.storage import kept_until_changed
from hmr_jax.body.joints import J19, KEYPOINTS_44, OPENPOSE_25, PELVIS_44

FORMAT = "hmr-jax-capture-1"
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
"""Metres in a unit."""
SHOWN = 10  # sentences of an error


def _joints() -> dict[str, int]:
    names = {name: row for row, name in enumerate(KEYPOINTS_44)}  # "openpose_left_knee", "neck_lsp"
    plain = {name: row for row, name in enumerate(OPENPOSE_25)}
    plain |= {name: 25 + row for row, name in enumerate(J19)}
    for name in J19[12:]:  # "neck", "head_top", "pelvis", "thorax", "spine", "jaw", "head"
        plain[name.rpartition("_")[0]] = 25 + J19.index(name)
    return plain | names


JOINTS = _joints()
"""Name: row of the 44 keypoints. A name that two sets share, such as "left_knee", means the anatomical point of the
last 19; "openpose_left_knee" means OpenPose's."""
HIPS = (JOINTS["right_hip"], JOINTS["left_hip"])
_PELVIS_FROM = (HIPS, (JOINTS["openpose_mid_hip"],), (JOINTS["openpose_right_hip"], JOINTS["openpose_left_hip"]))


@dataclass(frozen=True)
class Capture:
    """A file that has been checked."""

    path: epath.Path
    document: dict[str, Any]

    def __len__(self) -> int:
        return len(self.document["people"])

    def image(self, number: int) -> epath.Path:
        """Path of a person's image."""
        return self.path.parent / self.document["people"][number]["image"]

    def key(self, number: int, file: str = "") -> str:
        """Unique name of a person; `file` names this file, if its own name without suffix is not unique."""
        person = self.document["people"][number]
        return f"{file or self.path.stem}-{person['image']}-{person.get('id', number)}"

    def person(self, number: int) -> dict[str, Any]:
        """The labels of a person.

        Without 2-D keypoints, keypoints_2d are the projected 3-D ones. A missing pelvis is the middle of the hips.

        Returns:
            keypoints_2d (44, 3) px, keypoints_3d (44, 4) metres in camera axes, intrinsics (3, 3) px or None, and box
            (4,) px or None.
        """
        person, shift = self.document["people"][number], 0.5 * (self.document.get("pixels", "centers") == "corners")
        rows = [JOINTS[name] for name in self.document["joints"]]
        keypoints_2d, keypoints_3d, intrinsics = np.zeros((44, 3)), np.zeros((44, 4)), None
        camera = self.document.get("cameras", {}).get(person.get("camera"))
        if camera:
            intrinsics = np.array(camera["intrinsics"], np.float64)
            intrinsics[:2, 2] -= shift
        if points := person.get("keypoints_2d"):
            keypoints_2d[rows] = _points(points, 2)
            keypoints_2d[:, :2] -= shift * (keypoints_2d[:, 2:] > 0)
        if points := person.get("keypoints_3d"):
            keypoints_3d[rows] = _points(points, 3)
            keypoints_3d[:, :3] *= UNITS[self.document["units"]]
            if self.document.get("axes", "camera") == "world":
                rotation = np.array(camera["rotation"], np.float64)
                translation = np.array(camera["translation"], np.float64) * UNITS[self.document["units"]]
                moved = keypoints_3d[:, :3] @ rotation.T + translation
                keypoints_3d[:, :3] = np.where(keypoints_3d[:, 3:] > 0, moved, 0)
        for points in (keypoints_2d, keypoints_3d):
            for hips in _PELVIS_FROM:
                if points[PELVIS_44, -1] == 0 and points[hips, -1].all():
                    points[PELVIS_44] = points[hips, :].mean(0)
        if not person.get("keypoints_2d") and intrinsics is not None:
            keypoints_2d = project(keypoints_3d[:, :3], intrinsics) * (keypoints_3d[:, 3:] > 0)
        box = None if person.get("box") is None else np.array(person["box"], np.float64) - shift
        return {"keypoints_2d": keypoints_2d, "keypoints_3d": keypoints_3d, "intrinsics": intrinsics, "box": box}


@kept_until_changed(1)
def read(path: epath.Path) -> Capture:
    """Reads and checks a file; the last one is kept, as its people are asked for in blocks.

    Raises:
        ValueError: it is not JSON or not of the format; the message has a sentence for each of the first problems.
    """
    document = read_json(path, "a JSON file")
    found = problems(document)
    if found:
        more = [f"... and {len(found) - SHOWN} more."] if len(found) > SHOWN else []
        raise ValueError("\n  ".join([f"{path} is not of the format '{FORMAT}':", *found[:SHOWN], *more]))
    return Capture(path, document)


def problems(document: Any) -> list[str]:
    """A sentence for each thing that is wrong with the contents of a file."""
    if not isinstance(document, dict):
        return ["It should be an object with format, units, joints, cameras and people."]
    found = []
    if document.get("format") != FORMAT:
        found.append(f"'format' should be \"{FORMAT}\", not {document.get('format')!r}.")
    if unknown := document.keys() - {"format", "units", "axes", "pixels", "joints", "cameras", "people"}:
        found.append(
            f"There is no field {_hint(min(unknown), ('units', 'axes', 'pixels', 'joints', 'cameras', 'people'))}"
        )
    for name, choices in (("units", tuple(UNITS)), ("axes", ("world", "camera")), ("pixels", ("centers", "corners"))):
        if name in document and document[name] not in choices:
            found.append(f"'{name}' should be one of {', '.join(choices)}, not {document[name]!r}.")
    joints = document.get("joints")
    if not isinstance(joints, list) or not joints or not all(isinstance(name, str) for name in joints):
        return [*found, "'joints' should be a list of names."]
    found += [f"There is no joint {_hint(name, tuple(JOINTS))}" for name in joints if name not in JOINTS]
    rows = [JOINTS[name] for name in joints if name in JOINTS]
    found += [f"The joint '{name}' is there twice." for name in joints if joints.count(name) > 1][:1]
    if len(set(rows)) < len(rows) == len(set(joints)):
        found.append("Two of 'joints' name the same keypoint.")
    cameras = document.get("cameras", {})
    if not isinstance(cameras, dict):
        return [*found, "'cameras' should be an object of cameras by name."]
    world = document.get("axes", "camera") == "world"
    for name, camera in cameras.items():
        found += _camera_problems(name, camera, world)
    people = document.get("people")
    if not isinstance(people, list):
        return [*found, "'people' should be a list."]
    for number, person in enumerate(people):
        found += _person_problems(f"Person {number}", person, len(joints), cameras, world, "units" in document)
    return found or _size_problems(people, rows, document.get("units", "m"))


def _size_problems(people: list[dict], rows: list[int], unit: str) -> list[str]:
    """What is wrong with the unit of 3-D keypoints, by the size of the people."""
    sizes = []
    for person in people:
        if points := person.get("keypoints_3d"):
            keypoints = np.zeros((44, 4))
            keypoints[rows] = _points(points, 3)
            keypoints[:, :3] *= UNITS[unit]
            sizes.append(person_size(keypoints))
    known = [size for size in sizes if size is not None]
    if not known or SIZES[0] < (median := float(np.median(known))) < SIZES[1]:
        return []
    fitting = [other for other in UNITS if SIZES[0] < median * UNITS[other] / UNITS[unit] < SIZES[1]]
    best = min(fitting, key=lambda other: abs(np.log(max(median, 1e-9) * UNITS[other] / UNITS[unit])), default="")
    hint = f"should it be '{best}'?" if best else "check the 3-D keypoints and the names of the joints."
    return [f"'units' is '{unit}', by which the people are {median:.3g} times as large as people are: {hint}"]


def _camera_problems(name: str, camera: Any, world: bool) -> list[str]:
    if not isinstance(camera, dict):
        return [f"The camera '{name}' should be an object with intrinsics."]
    found = []
    inner = _array(camera.get("intrinsics"), (3, 3))
    if inner is None or inner[0, 0] <= 0 or inner[1, 1] <= 0 or inner[2].tolist() != [0, 0, 1]:
        found.append(f"The camera '{name}' needs intrinsics [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].")
    if world or "rotation" in camera:
        rotation = _array(camera.get("rotation"), (3, 3))
        if rotation is None or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            found.append(f"The camera '{name}' needs a rotation matrix 3 x 3 from world to camera axes.")
        if _array(camera.get("translation"), (3,)) is None:
            found.append(f"The camera '{name}' needs a translation of three numbers.")
    return found


def _person_problems(who: str, person: Any, joints: int, cameras: dict, world: bool, units: bool) -> list[str]:
    if not isinstance(person, dict) or not isinstance(person.get("image"), str):
        return [f"{who} should be an object with an image."]
    fields = ("image", "camera", "id", "keypoints_2d", "keypoints_3d", "box")
    found = [f"{who} has no field {_hint(name, fields)}" for name in person if name not in fields]
    if not person.get("keypoints_2d") and not person.get("keypoints_3d"):
        found.append(f"{who} has neither keypoints_2d nor keypoints_3d.")
    for name, size in (("keypoints_2d", 2), ("keypoints_3d", 3)):
        rows = person.get(name)
        if not rows:
            continue
        if not isinstance(rows, list) or len(rows) != joints:
            found.append(f"{who} should have {joints} {name}, one for each joint.")
        elif not all(row is None or _is_point(row, size) for row in rows):
            found.append(f"{who} has {name} that are neither {size} or {size + 1} numbers nor null.")
    if "camera" in person and person["camera"] not in list(cameras):
        found.append(f"{who} was seen by a camera that is not there: {_hint(str(person['camera']), tuple(cameras))}")
    if person.get("keypoints_3d"):
        if not units:
            found.append(f"{who} has keypoints_3d, but the file does not say its 'units'.")
        if "camera" not in person and (world or not person.get("keypoints_2d")):
            found.append(f"{who} needs a camera for its keypoints_3d.")
    box = person.get("box")
    if box is not None and ((sides := _array(box, (4,))) is None or (sides[2:] <= sides[:2]).any()):
        found.append(f"{who} needs a box [left, top, right, bottom] with right > left and bottom > top.")
    return found


def _array(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Finite numbers of a shape, or None."""
    array = _numbers(value)
    return array if array is not None and array.shape == shape and np.isfinite(array).all() else None


def _numbers(value: Any) -> np.ndarray | None:
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError):
        return None


def _is_point(row: Any, size: int) -> bool:
    """Whether a row is finite numbers, or marks an absent point by confidence 0 or by no number at all."""
    numbers = _numbers(row)
    if numbers is None or numbers.shape not in ((size,), (size + 1,)):
        return False
    return bool(np.isfinite(_points([row], size)).all())


def _points(rows: list, size: int) -> np.ndarray:
    """(N, size + 1) points with confidence in [0, 1]; null is absent."""
    full = np.full((len(rows), size + 1), np.nan)
    for number, row in enumerate(rows):
        if row is not None:
            full[number, : len(row)] = row
            if len(row) == size and not np.isnan(full[number, :size]).all():
                full[number, size] = 1
    return clip_confidence(full, most=1)


def _hint(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"'{name}'; did you mean '{near[0]}'?" if near else f"'{name}'; there are {', '.join(known[:30])}."
