"""What is wrong with a record: damaged or contradictory values, and labels in another unit.

Shapes: H and W of the stored image.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from data_pipelines.records.schema import DEPTH_STEP, FIELDS
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.geometry.intrinsics import FOCAL_RANGE

MAX_OFFSET = 0.2
"""Largest median distance of projected 3-D keypoints from the 2-D ones, in units of the box. Detections of people who
are half hidden are that far off."""


SIZE_RANGE = (0.2, 50)
"""Sizes of a person of `HEIGHT` by translation and focal length, in units of the box: from loose boxes around people
with their arms up to boxes around a face. What is in millimetres lies outside."""
HEIGHT = 1.7
"""Metres."""
FOCAL_NOT_IN_PX = "camera: focal length too small for px of the image"
SIZE_NOT_OF_BOX = (
    "camera: translation and focal length are not those of a person in the box, as if not in metres and px"
)
NOT_AT_KEYPOINTS = "smpl: translation is elsewhere than the 3-D keypoints, as if not in metres"


DOUBTS = frozenset(
    {
        "box: side out of range",
        "box: outside the image",
        "keypoints: fewer than five, and no pose",
        "keypoints_2d: none inside the box",
        "keypoints: 3-D ones do not project onto 2-D ones",
        "smpl: a rotation of more than a turn",
        "smpl: betas out of range",
        "smpl: behind the camera",
        FOCAL_NOT_IN_PX,
        SIZE_NOT_OF_BOX,
        NOT_AT_KEYPOINTS,
    }
)
"""Reasons of `problems` for which training leaves a record out, but with which it can be scored, as others do."""


def problems(record: Mapping[str, Any]) -> list[str]:
    """What makes a record unfit for training, in a few words each; empty: the record is good.

    Builders drop a record with problems and count the reasons, so a reason names no number of the record.
    """
    if wrong := _shape_problems(record):
        return wrong
    found: list[str] = []

    def expect(good: Any, reason: str) -> None:
        if not good:
            found.append(reason)

    size = np.array([record["image/width"], record["image/height"]])
    try:
        image = Image.open(io.BytesIO(record["image/encoded"]))
        expect(image.size == tuple(size), "image: not of the size stated")
        expect(image.getexif().get(ExifTags.Base.Orientation, 1) == 1, "image: turned by EXIF, which readers ignore")
    except OSError:
        expect(False, "image: cannot be read")
    center, side = record["box/center"], float(record["box/size"])
    expect(4 <= side <= 10 * size.max(), "box: side out of range")
    expect(np.all(center + side / 2 > 0) and np.all(center - side / 2 < size), "box: outside the image")

    confidence_2d, confidence_3d = record["keypoints_2d"][:, 2], record["keypoints_3d"][:, 3]
    for confidence in (confidence_2d, confidence_3d):
        # That of detectors can exceed 1 a little; COCO's flag 2 is no confidence.
        expect(confidence.min() >= 0 and confidence.max() < 2, "keypoints: confidence not in [0, 1]")
    seen = record["keypoints_2d"][confidence_2d > 0, :2]
    points = record["keypoints_3d"][confidence_3d > 0, :3]
    expect(len(seen) > 4 or len(points) > 4 or record["smpl/has_pose"], "keypoints: fewer than five, and no pose")
    if len(seen):
        expect((np.abs(seen - center) <= side / 2).all(1).any(), "keypoints_2d: none inside the box")
    if len(points):
        expect(np.ptp(points, axis=0).max() < 3, "keypoints_3d: spread over more than three metres")

    pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]]).reshape(24, 3)
    expect(np.linalg.norm(pose, axis=1).max() < 2 * np.pi + 0.01, "smpl: a rotation of more than a turn")
    expect(np.abs(record["smpl/betas"]).max() <= 10, "smpl: betas out of range")
    for name in ("smpl/has_pose", "smpl/has_betas", "smpl/has_translation", "camera/has_intrinsics"):
        expect(record[name] in (0, 1), f"{name}: neither 0 nor 1")
    if record["smpl/has_pose"] or record["smpl/has_betas"]:
        expect(record["topology"], "topology: missing, though there are body parameters")
    if record["smpl/has_translation"]:
        expect(record["smpl/translation"][2] > 0, "smpl: behind the camera")
        middle = _middle(record)
        elsewhere = _is_far(middle, 0.0) and _is_far(middle, record["smpl/translation"])
        expect(not elsewhere, NOT_AT_KEYPOINTS)
    if record["camera/has_intrinsics"]:
        intrinsics = record["camera/intrinsics"]
        good = intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0 and np.array_equal(intrinsics[2], (0, 0, 1))
        expect(good, "camera: not an intrinsics matrix")
        if good:
            expect(np.diag(intrinsics)[:2].min() >= FOCAL_RANGE[0] * size.max(), FOCAL_NOT_IN_PX)
            expect(_has_the_boxs_size(record), SIZE_NOT_OF_BOX)
        if good and record["smpl/has_translation"]:
            expect(not _is_off(record), "keypoints: 3-D ones do not project onto 2-D ones")
    expect(record["gender"] in ("n", "m", "f"), "gender: not n, m or f")
    expect(record["depth/kind"] in ("none", *DEPTH_STEP), "depth: unknown kind")
    for name in ("mask", "depth"):
        expect(_size_of(record[f"{name}/encoded"]) in (None, tuple(size)), f"{name}: not of the image's size")
    expect(bool(record["depth/encoded"]) == (record["depth/kind"] != "none"), "depth: map and kind disagree")
    if record["depth/kind"] == "metric":
        pelvis = record["keypoints_3d"][PELVIS_44]
        expect(pelvis[3] > 0 and pelvis[2] > 0, "depth: metric, but the pelvis has no depth to subtract")
    return found


def _size_of(encoded: bytes) -> tuple[int, int] | None:
    """Width and height of a map; None if it is absent."""
    try:
        return Image.open(io.BytesIO(encoded)).size if encoded else None
    except OSError:
        return -1, -1


def _middle(record: Mapping[str, Any]) -> np.ndarray | None:
    """(3,) the pelvis, or else the middle of the 3-D keypoints; None where there are none."""
    points = record["keypoints_3d"]
    seen = points[:, 3] > 0
    if seen[PELVIS_44]:
        return points[PELVIS_44, :3]
    return np.median(points[seen, :3], axis=0) if seen.any() else None


def _is_far(point: np.ndarray | None, other: np.ndarray | float, metres: float = 2) -> bool:
    """Whether they are further apart than any of a body's points is from its root."""
    return point is not None and bool(np.linalg.norm(point - other) > metres)


def _has_the_boxs_size(record: Mapping[str, Any]) -> bool:
    """Whether a person at the translation, or else at absolute 3-D keypoints, is about as large as the box."""
    middle = _middle(record)
    if record["smpl/has_translation"]:
        depth = float(record["smpl/translation"][2])
    elif middle is not None and _is_far(middle, 0.0):
        depth = float(middle[2])
    else:
        return True  # relative to the root
    if depth <= 0:
        return True  # that has another reason
    size = record["camera/intrinsics"][1, 1] * HEIGHT / depth / record["box/size"]
    return bool(SIZE_RANGE[0] <= size <= SIZE_RANGE[1])


def _is_off(record: Mapping[str, Any]) -> bool:
    """Whether half of the keypoints are further than `MAX_OFFSET` from the projections of the 3-D ones."""
    keypoints_2d, keypoints_3d = record["keypoints_2d"], record["keypoints_3d"]
    if _is_far(_middle(record), record["smpl/translation"], 1):
        return False  # relative to the root
    both = (keypoints_2d[:, 2] > 0) & (keypoints_3d[:, 3] > 0) & (keypoints_3d[:, 2] > 0.01)
    if not both.any():
        return False
    projected = keypoints_3d[both, :3] @ record["camera/intrinsics"].T
    distance = np.linalg.norm(projected[:, :2] / projected[:, 2:] - keypoints_2d[both, :2], axis=1)
    return bool(np.median(distance) > MAX_OFFSET * record["box/size"])


def _shape_problems(record: Mapping[str, Any]) -> list[str]:
    if record.keys() != FIELDS.keys():
        return ["fields: " + ", ".join(sorted(record.keys() ^ FIELDS.keys())) + " missing or unknown"]
    found = []
    for name, (shape, dtype) in FIELDS.items():
        if dtype in ("bytes", "str"):
            continue
        if np.shape(record[name]) != shape:
            found.append(f"{name}: wrong shape")
        elif not np.all(np.isfinite(record[name])):
            found.append(f"{name}: not finite")
    return found
