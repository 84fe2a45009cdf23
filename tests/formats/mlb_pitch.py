"""A capture of pitchers: named joints in feet and world axes, one camera, images beside the JSON file."""

import json
from pathlib import Path

import numpy as np

from formats.people import jpeg, people, world_cameras

JOINTS = [
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top", "nose", "left_big_toe",
]  # fmt: skip
IN_44 = [*range(25, 39), 0, 19]
FOOT = 0.3048


def document(count: int = 2) -> tuple[dict, dict[str, np.ndarray]]:
    """The contents of a file and the people in it."""
    drawn = {name: values[:count] for name, values in people(max(count, 6)).items()}
    outer = world_cameras(1, 4)[0]
    points_3d = (drawn["keypoints_3d"][:, IN_44, :3] - outer[:3, 3]) @ outer[:3, :3] / FOOT
    points = drawn["keypoints_2d"][:, IN_44] + [0.5, 0.5, 0]
    cameras = {
        f"camera{row}": {
            "intrinsics": (drawn["intrinsics"][row] + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]).tolist(),
            "rotation": outer[:3, :3].tolist(),
            "translation": (outer[:3, 3] / FOOT).tolist(),
        }
        for row in range(count)
    }
    persons = [
        {
            "image": f"images/{row:04d}.jpg", "camera": f"camera{row}", "id": "pitcher",
            "keypoints_2d": points[row].tolist(), "keypoints_3d": points_3d[row].tolist(),
        }
        for row in range(count)
    ]  # fmt: skip
    return {
        "format": "hmr-jax-capture-1", "units": "ft", "axes": "world", "pixels": "corners", "joints": JOINTS,
        "cameras": cameras, "people": persons,
    }, drawn  # fmt: skip


def write(folder: Path, contents: dict | None = None, split: str = "train", count: int = 2) -> dict[str, np.ndarray]:
    made, drawn = document(count)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for row, image in enumerate(drawn["image"]):
        (folder / "images" / f"{row:04d}.jpg").write_bytes(jpeg(image))
    (folder / f"{split}.json").write_text(json.dumps(made if contents is None else contents))
    return drawn
