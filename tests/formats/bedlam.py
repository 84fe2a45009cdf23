"""BEDLAM: one npz file a scene in "CLIFF format", PNG images, close-ups lying on their side."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from formats import smplx
from formats.people import world_cameras

SCENE, CLOSEUP = "20221010_3_1000_batch01hand_6fps", "20221019_3-8_250_highbmihand_orbit_stadium_closeup_6fps"


def write(folder: Path, kind: str = "smplx", columns: int = 127, **changes) -> dict[str, np.ndarray]:
    """A usual scene and a close-up with two people each; returns the truth of all four.

    Args:
        folder: The manual folder.
        kind: "smplx": pose_cam (N, 165); "smpl": (N, 72).
        columns: Points of gtkps: 127, or 44 as in CameraHMR's release.
        **changes: Columns that are replaced in the first scene.
    """
    drawn = smplx.showable()
    for scene, rows in ((SCENE, slice(0, 2)), (CLOSEUP, slice(2, 4))):
        people = {name: values[rows] for name, values in drawn.items()}
        labels = folder / "training_labels" / "all_npz_12_training"
        labels.mkdir(parents=True, exist_ok=True)
        np.savez(labels / f"{scene}.npz", **(table(people, kind, columns) | (changes if scene == SCENE else {})))
        for row, image in enumerate(people["image"]):
            path = folder / "training_images" / scene / "png" / name_of(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            rotated = np.rot90(image, 1) if scene == CLOSEUP else image  # 90 degrees clockwise bring it upright
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(rotated)).save(file, "PNG", compress_level=1)
            path.write_bytes(file.getvalue())
    return drawn


def name_of(row: int) -> str:
    return f"seq_{row:06d}/seq_{row:06d}_0000.png"


def table(people: dict[str, np.ndarray], kind: str, columns: int) -> dict[str, np.ndarray]:
    count = len(people["pose"])
    cameras = world_cameras(count)
    points = smplx.joints(people) @ people["intrinsics"].transpose(0, 2, 1)
    pixels = points[..., :2] / points[..., 2:]
    gtkps = np.ones((count, columns, 3))
    gtkps[:, :24, :2] = pixels
    if kind == "smplx":
        gtkps[:, 22:, :2] = 7  # jaw, eyes, fingers, face: not read
    if columns == 44:
        gtkps = people["keypoints_2d"]
    low, high = pixels[:, :22].min(1), pixels[:, :22].max(1)
    pose = people["pose"].astype(np.float32)
    whole = pose if kind == "smpl" else np.concatenate([pose[:, :66], np.zeros((count, 99), np.float32)], 1)
    return {
        "imgname": np.array([name_of(row) for row in range(count)]),
        "center": (low + high) / 2,
        "scale": 1.2 * (high - low).max(1) / 200,
        "pose_cam": whole,
        "pose_world": whole,
        "shape": people["betas"].astype(np.float32),
        "trans_cam": people["translation"] - cameras[:, :3, 3],
        "trans_world": np.zeros((count, 3)),
        "gtkps": gtkps,
        "cam_int": people["intrinsics"],
        "cam_ext": cameras,
        "gender": np.array(["female"] * count),  # of the character, not of the labels
        "proj_verts": np.zeros((count, 437, 3), np.float32),
        "motion_info": np.array(["motion"] * count),
        "sub": np.array(["rp_anna_posed_001"] * count),
    }
