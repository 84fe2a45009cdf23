"""EMDB: a pickle of a sequence in world axes, JPEG images, boxes and joints in pixels."""

import pickle
from pathlib import Path

import numpy as np

from formats import smplx
from formats.people import jpeg, people, to_world, world_cameras

FRAMES = 4
BAD = 2  # frame that is not good


def write(folder: Path, **changes) -> dict[str, np.ndarray]:
    """A sequence of EMDB 1 and one of EMDB 2, of the same person; returns the person's truth."""
    person = {name: values[0] for name, values in people().items()}
    for name, first in (("14_outdoor_climb", True), ("19_indoor_walk", False)):
        home = folder / "P1" / name
        (home / "images").mkdir(parents=True, exist_ok=True)
        data = sequence(person, f"P1_{name}") | {"emdb1": first, "emdb2": not first} | changes
        (home / f"P1_{name}_data.pkl").write_bytes(pickle.dumps(data, 4))
        for frame in range(FRAMES):
            (home / "images" / f"{frame:05d}.jpg").write_bytes(jpeg(person["image"]))
    return person


def sequence(person: dict[str, np.ndarray], name: str) -> dict:
    cameras = world_cameras(FRAMES, 3)
    repeated = {key: np.repeat(values[None], FRAMES, 0) for key, values in person.items()}
    pose, translation = to_world(repeated, cameras)
    points = smplx.joints(repeated) @ person["intrinsics"].T
    points = points[..., :2] / points[..., 2:]
    good = np.arange(FRAMES) != BAD
    return {
        "gender": "female",
        "name": name,
        "n_frames": FRAMES,
        "good_frames_mask": good,
        "camera": {"intrinsics": person["intrinsics"], "extrinsics": cameras, "width": 160, "height": 160},
        "smpl": {
            "poses_root": pose[:, :3], "poses_body": pose[:, 3:], "trans": translation, "betas": person["betas"],
        },
        "kp2d": points,
        "bboxes": {
            "bboxes": np.concatenate([points.min(1) - 9, points.max(1) + 5], 1),
            "invalid_idxs": np.array([], np.int64),
        },
    }  # fmt: skip
