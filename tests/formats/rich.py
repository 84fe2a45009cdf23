"""RICH: a pickle for each body and frame, two cameras with XML calibrations, BMP or PNG images."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from formats import smplx
from formats.people import to_world, world_cameras

SEQUENCE = "ParkingLot2_017_pushup1"
XML = """<?xml version="1.0"?>
<opencv_storage>
<CameraMatrix type_id="opencv-matrix"><rows>3</rows><cols>4</cols><dt>d</dt><data>
 {outer}</data></CameraMatrix>
<Intrinsics type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt><data>
 {inner}</data></Intrinsics>
<Distortion type_id="opencv-matrix"><rows>5</rows><cols>1</cols><dt>d</dt><data>0. 0. 0. 0. 0.</data></Distortion>
</opencv_storage>
"""


def write(folder: Path, split: str = "test", frames=(17, 18), **changes) -> dict[str, np.ndarray]:
    """One person in two frames, seen by two cameras; returns the truth for camera 0, which sees the person whole.

    Camera 1 is camera 0 rotated by 90 degrees about its axis, and so is its image.

    Args:
        folder: The manual folder.
        split: Folder of the split.
        frames: Numbers of the frames.
        **changes: Keys of the bodies that are replaced.
    """
    person = {name: values[:1] for name, values in smplx.showable().items()}
    cameras = world_cameras(1, 9)
    pose, translation = to_world(person, cameras)
    body = {
        "transl": translation,
        "global_orient": pose[:, :3],
        "body_pose": pose[:, 3:66],
        "betas": person["betas"],
        "left_hand_pose": np.zeros((1, 12)),
        "right_hand_pose": np.zeros((1, 12)),
        "jaw_pose": np.zeros((1, 3)),
        "leye_pose": np.zeros((1, 3)),
        "reye_pose": np.zeros((1, 3)),
        "expression": np.zeros((1, 10)),
    }
    body = {key: value.astype(np.float32) for key, value in body.items()} | changes
    size = person["image"].shape[1]
    rotation = np.eye(4)
    rotation[:3, :3] = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    last = np.array([[0, -1, size - 1], [1, 0, 0], [0, 0, 1]])  # px of the rotated image
    inner = person["intrinsics"][0]
    calibrations = {0: (cameras[0], inner), 1: (rotation @ cameras[0], last @ inner @ rotation[:3, :3].T)}
    for frame in frames:
        path = folder / "bodies" / split / SEQUENCE / f"{frame:05d}" / "017.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(body, 4))
        for camera, suffix in ((0, "bmp"), (1, "png")):
            image = person["image"][0] if camera == 0 else np.ascontiguousarray(np.rot90(person["image"][0], -1))
            path = folder / "images" / split / SEQUENCE / f"cam_{camera:02d}" / f"{frame:05d}_{camera:02d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            Image.fromarray(image).save(file, suffix.upper())
            path.write_bytes(file.getvalue())
    for camera, (outer, inner) in calibrations.items():
        path = folder / "scan_calibration" / "ParkingLot2" / "calibration" / f"{camera:03d}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = [" ".join(f"{x:.17g}" for x in matrix.ravel()) for matrix in (outer[:3], inner)]
        path.write_text(XML.format(outer=numbers[0], inner=numbers[1]))
    (folder / "resource").mkdir(exist_ok=True)
    (folder / "resource" / "gender.json").write_text(json.dumps({"17": "female", "9": "male"}))
    return {name: values[0] for name, values in person.items()}


def write_eval_npz(folder: Path, count: int = 2, **changes) -> dict[str, np.ndarray]:
    """BEDLAM's rich_test.npz with people of the synthetic images; returns their truth."""
    people = smplx.showable(count)
    hands = np.random.default_rng(0).normal(0, 0.3, (count, 99))  # in the file, but not in the protocol
    table = {
        "imgname": np.array([f"test/{SEQUENCE}/cam_00/{row:05d}_00.png" for row in range(count)]),
        "center": people["box_center"],
        "scale": people["box_size"] / 200,
        "pose_cam": np.concatenate([people["pose"][:, :66], hands], 1),
        "shape": people["betas"],
        "gender": np.array(["female", "m"] * count)[:count],
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "rich_test.npz", **(table | changes))
    for row, name in enumerate(table["imgname"]):
        path = folder / "images" / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(people["image"][row]).save(path)
    return people
