"""Keypoints of people in images as other programs write them: OpenPose, COCO, and a table of our own.

Sets of points are told by their number: 17 of COCO, 25 of OpenPose (BODY_25), 26 of Halpe, 33 of BlazePose, and the 44
of `joints.KEYPOINTS_44`.

Shapes: n people, N points of a set, K = 44 keypoints.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.body.joints import BLAZEPOSE_33, HALPE_26, KEYPOINTS_44, OPENPOSE_25
from hmr_jax.inference.box_files import image_of_id
from hmr_jax.inference.inputs import one_per_image
from hmr_jax.io.json_files import load_json
from hmr_jax.io.research_files import read_plain_npz

SETS = {17: HALPE_26[:17], 25: OPENPOSE_25, 26: HALPE_26, 33: BLAZEPOSE_33, 44: KEYPOINTS_44}
"""Names of the points of a set, by their number; COCO's are the first of Halpe's."""
_OCCLUDED = 0.5
"""Confidence of points that COCO's annotators have placed though they are not visible."""


def arrange(points: np.ndarray, names: Sequence[str], of: str) -> np.ndarray:
    """Points in the order of the 44 keypoints; those of other names are left out.

    Args:
        points: (n, N, 3) px and confidence.
        names: N of them: of `joints.KEYPOINTS_44`, or without their "openpose_"; `joints.BLAZEPOSE_33`.
        of: where they are from, for messages.

    Returns:
        (n, K, 3), 0 where there is none.

    Raises:
        ValueError: arrays of another shape, confidences that are none, or no known name.
    """
    if points.ndim != 3 or points.shape[1:] != (len(names), 3) or not np.issubdtype(points.dtype, np.number):
        raise ValueError(f"{of}: keypoints of {points.dtype} {points.shape} with {len(names)} names; give (n, N, 3).")
    made = np.zeros((len(points), len(KEYPOINTS_44), 3))
    known = {name: number for number, name in enumerate(KEYPOINTS_44)}
    if not any(name.startswith("openpose_") for name in names):  # else J19's shoulders stay apart from OpenPose's
        known |= {name.removeprefix("openpose_"): number for number, name in enumerate(KEYPOINTS_44[:25])}
        known |= {f"{side}_foot_index": known[f"{side}_big_toe"] for side in ("left", "right")}
    numbers = [known.get(name) for name in names]
    if all(number is None for number in numbers):
        raise ValueError(f"{of}: none of the names {', '.join(names[:4])} ... is of a known keypoint.")
    for column, number in enumerate(numbers):
        if number is not None:
            made[:, number] = points[:, column]
    there = np.isfinite(made).all(-1) & (made[..., 2] > 0)
    made = np.where(there[..., None], made, 0.0)
    if made[..., 2].max(initial=0) > 1.001:
        raise ValueError(f"{of}: confidences up to {made[..., 2].max():.4g}; they must be between 0 and 1.")
    return made


def as_keypoints(people: Any, of: str) -> np.ndarray:
    """(n, K, 3) from (n, N, 3), (N, 3) or (n, 3 N) numbers, px and confidence, of one of the sets.

    Raises:
        ValueError: they are something else.
    """
    try:
        points = np.asarray(people, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(1)
    if points.size == 0:
        return np.zeros((0, len(KEYPOINTS_44), 3))
    if points.ndim == 2 and points.shape[1] != 3 and points.shape[1] % 3 == 0:
        points = points.reshape(len(points), -1, 3)
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] not in SETS:
        sizes = ", ".join(map(str, sorted(SETS)))
        raise ValueError(f"{of}: keypoints have shape {points.shape}; give x, y and confidence of {sizes} points.")
    return arrange(points, SETS[points.shape[1]], of)


def read_openpose(path: Path) -> np.ndarray:
    """The people (n, K, 3) of an image, or of a frame, in a file of OpenPose's JSON.

    Raises:
        ValueError: it is something else.
    """
    contents = load_json(path)
    people = contents.get("people") if isinstance(contents, Mapping) else None
    if not isinstance(people, list):
        raise ValueError(f"{path} has no list of people, as OpenPose writes it.")
    rows = [person.get("pose_keypoints_2d") if isinstance(person, Mapping) else None for person in people]
    found = [as_keypoints([row], f"{path}: pose_keypoints_2d") for row in rows]
    kept = [person for person in found if len(person) and (person[..., 2] > 0).any()]
    return np.concatenate(kept) if kept else np.zeros((0, len(KEYPOINTS_44), 3))


def read_keypoint_table(path: Path, images: Sequence[Path]) -> dict[str, np.ndarray]:
    """Keypoints (n, K, 3) by image.

    Args:
        path: a folder of OpenPose's files, NAME_keypoints.json or NAME.json for each image; a .json file with a data
            set or results of COCO, or {file name: people}; or a .npz file with an array for each file name.
        images: whose keypoints are wanted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has none of these layouts.
    """
    if path.is_dir():
        return _folder(path, images)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of keypoints {path}.")
    if path.suffix.lower() == ".npz":
        return {name: as_keypoints(array, f"{path}: {name}") for name, array in read_plain_npz(path).items()}
    if path.suffix.lower() != ".json":
        raise ValueError(f"{path} is no file of keypoints: give .json, .npz, or a folder of OpenPose's files.")
    contents = load_json(path)
    if isinstance(contents, Mapping) and isinstance(contents.get("people"), list) and len(images) == 1:
        return {str(images[0].absolute()): read_openpose(path)}
    if isinstance(contents, Mapping) and isinstance(contents.get("annotations"), list) and "images" in contents:
        return _coco_data_set(path, contents)
    rows = contents if isinstance(contents, list) else []
    if rows and all(isinstance(row, Mapping) and "keypoints" in row for row in rows):
        return _coco_results(path, rows, images)
    if not isinstance(contents, Mapping):
        raise ValueError(
            f"{path} must hold {{file name: [[[x, y, confidence], ...], ...]}}, or be a data set or results of COCO."
        )
    return {str(name): as_keypoints(people, f"{path}: {name}") for name, people in contents.items()}


def _folder(folder: Path, images: Sequence[Path]) -> dict[str, np.ndarray]:
    table = {}
    for image in images:
        for file in (folder / f"{image.stem}_keypoints.json", folder / f"{image.stem}.json"):
            if file.is_file():
                table[str(image.absolute())] = read_openpose(file)
                break
    if not table:
        raise ValueError(f"{folder} holds no {images[0].stem}_keypoints.json or other file of OpenPose of the images.")
    return table


def _coco_data_set(path: Path, contents: Mapping[str, Any]) -> dict[str, np.ndarray]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in contents["images"]}
        rows: dict[str, list] = {name: [] for name in names.values()}
        for row in contents["annotations"]:
            points = np.array(row["keypoints"], np.float64).reshape(-1, 3)
            points[:, 2] = np.select([points[:, 2] >= 2, points[:, 2] == 1], [1.0, _OCCLUDED], 0.0)
            if points[:, 2].any() and not row.get("iscrowd"):
                rows[names[row["image_id"]]].append(points)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a data set of COCO's keypoints: {type(error).__name__} {error}.") from None
    return {name: as_keypoints(people, f"{path}: {name}") for name, people in rows.items()}


def _coco_results(path: Path, rows: Sequence[Mapping[str, Any]], images: Sequence[Path]) -> dict[str, np.ndarray]:
    by_id = image_of_id(path, images)
    table: dict[str, list] = {}
    try:
        for row in rows:
            shown = by_id.get(row["image_id"])
            if shown is not None:
                table.setdefault(str(shown.absolute()), []).append(np.array(row["keypoints"], float).reshape(-1, 3))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold results of COCO: {type(error).__name__} {error}.") from None
    if not table:
        raise ValueError(f"{path} has no people in any of the images; image_id must be the number in a file's name.")
    return {name: as_keypoints(people, f"{path}: {name}") for name, people in table.items()}


def given_keypoints(keypoints: Any, count: int) -> list[np.ndarray | None]:
    """(n, K, 3) or None of each of some images, from what was given for them.

    Raises:
        ValueError: it is of another number of images, or of no known set.
    """
    if keypoints is None:
        return [None] * count
    several = one_per_image(keypoints, count, "keypoints", "an array (n, N, 3) or None per image")
    return [None if one is None else as_keypoints(one, f"Image {index}") for index, one in enumerate(several)]


def each_person(keypoints: np.ndarray | None, count: int, of: str) -> list[np.ndarray | None]:
    """Keypoints (K, 3) of each person of an image; raises ValueError if they are of another number of people."""
    if keypoints is None:
        return [None] * count
    if len(keypoints) != count:
        raise ValueError(f"{of} has {count} boxes, but keypoints of {len(keypoints)} people: give one for each.")
    return list(keypoints.astype(np.float32))


def boxes_of_keypoints(keypoints: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Boxes (n, 4) of each image by `boxes_around`; none where there are no keypoints."""
    return [
        np.zeros((0, 4)) if one is None else boxes_around(one, f"Image {index}") for index, one in enumerate(keypoints)
    ]


def boxes_around(keypoints: np.ndarray, of: str) -> np.ndarray:
    """(n, 4) boxes of people by their keypoints (n, K, 3), with some room, as heads and feet end beyond them.

    Raises:
        ValueError: a person has fewer than two keypoints.
    """
    boxes = np.zeros((len(keypoints), 4))
    for number, person in enumerate(keypoints):
        seen = person[person[:, 2] > 0, :2]
        if len(seen) < 2:
            raise ValueError(f"{of}: person {number} has {len(seen)} keypoints, too few for a box: give its box, too.")
        low, high = seen.min(0), seen.max(0)
        room = _ROOM * max(high - low)
        boxes[number] = [*(low - room), *(high + room)]
    return boxes


_ROOM = 0.1
"""Around the keypoints on each side, in longer sides of their box."""
