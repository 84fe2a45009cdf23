"""SPIN's npz files and CLIFF's, EFT's json, COCO's and the hourglass's annotations, Human3.6M's own files."""

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from formats.camerahmr_npz import write_images
from formats.people import people

ROWS = [0, 1, 2]
SPIN_OF_44 = [*range(25, 44)]  # the first 19 of SPIN's 24
FACE_OF_44 = [0, 16, 15, 18, 17]  # nose, left eye, right eye, left ear, right ear


def spin_24(points: np.ndarray) -> np.ndarray:
    """(N, 44, C) -> (N, 24, C)."""
    return points[:, SPIN_OF_44 + FACE_OF_44]


def write(folder: Path, file: str, names: list[str], *, body: bool = True, cliff: bool = False, **changes) -> dict:
    """One npz file; returns key: truth."""
    drawn = people()
    part = {label: values[ROWS] for label, values in drawn.items()}
    centred = part["keypoints_3d"].copy()
    centred[..., :3] -= centred[:, 39:40, :3]
    columns = {
        "imgname": np.array(names), "center": part["box_center"], "scale": part["box_size"] / 200,
        "part": spin_24(part["keypoints_2d"]), "openpose": part["keypoints_2d"][:, :25],
    }  # fmt: skip
    if body:
        columns |= {"pose": part["pose"], "shape": part["betas"], "has_smpl": np.ones(3)}
    if cliff:
        # The people were taken with an optical axis of their own: an image whose middle it goes through is cut out.
        columns |= {"global_t": part["translation"], "focal_l": part["intrinsics"][:, 0, 0]}
    else:
        columns["S"] = spin_24(centred)
    columns |= changes
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / file, **{k: v for k, v in columns.items() if v is not None})
    write_images(folder / "images", names, ROWS)
    return truth_of(part, names)


def truth_of(part: dict, names: list[str]) -> dict:
    return {f"{name}-{n}": {key: values[n] for key, values in part.items()} for n, name in enumerate(names)}


def write_eft(folder: Path, file: str, names: list[str]) -> dict:
    """EFT's json. Weak perspective is only near the truth, so `truth` holds no camera."""
    drawn = people()
    part = {label: values[ROWS] for label, values in drawn.items()}
    data = []
    for n, name in enumerate(names):
        size = float(part["box_size"][n])
        points_3d, points_2d = part["keypoints_3d"][n, :, :3] - part["translation"][n], part["keypoints_2d"][n]
        x = (points_2d[:, :2] - part["box_center"][n]) * 2 / size  # crop of [-1, 1]
        scale = np.ptp(x[:, 1]) / np.ptp(points_3d[:, 1])
        shift = (x / scale - points_3d[:, :2]).mean(0)
        both = np.concatenate([points_2d[:25], points_2d[SPIN_OF_44 + FACE_OF_44]])
        data.append(
            {
                "parm_pose": Rotation.from_rotvec(part["pose"][n].reshape(24, 3)).as_matrix().tolist(),
                "parm_shape": part["betas"][n].tolist(),
                "parm_cam": [float(scale), *shift.tolist()],
                "bbox_scale": size / 200,
                "bbox_center": part["box_center"][n].tolist(),
                "gt_keypoint_2d": both.tolist(),
                "imageName": name,
                "annotId": n,
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps({"ver": 0.1, "data": data}))
    write_images(folder / "images", names, ROWS)
    return truth_of(part, names)


COCO_OF_44 = [0, 16, 15, 18, 17, 34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25]


def write_coco(folder: Path) -> dict:
    """COCO's annotations: a person an image, one more that is not whole, and a crowd."""
    drawn = people()
    part = {label: values[ROWS] for label, values in drawn.items()}
    names = [f"COCO_train2014_{n:012d}.jpg" for n in ROWS]
    annotations = []
    for n in ROWS:
        left, top = part["box_center"][n] - part["box_size"][n] / 2.4
        side = float(part["box_size"][n] / 1.2)
        points = part["keypoints_2d"][n, COCO_OF_44] * [1, 1, 2]
        annotations.append(
            {
                "id": 100 + n, "image_id": n, "iscrowd": 0, "num_keypoints": 17, "category_id": 1,
                "bbox": [float(left), float(top), side * 0.8, side], "keypoints": points.ravel().tolist(),
                "segmentation": [[0.0] * 8],
            }
        )  # fmt: skip
    part["box_center"] = np.array([np.add(a["bbox"][:2], np.array(a["bbox"][2:]) / 2) for a in annotations])
    half = np.array(annotations[0]["keypoints"]).reshape(17, 3)
    half[16] = 0
    annotations.append(annotations[0] | {"id": 200, "keypoints": half.ravel().tolist(), "num_keypoints": 16})
    annotations.append(annotations[0] | {"id": 300, "iscrowd": 1, "segmentation": {"counts": [1], "size": [1, 1]}})
    path = folder / "annotations" / "person_keypoints_train2014.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": n, "file_name": name} for n, name in zip(ROWS, names, strict=True)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"keypoints": ["nose"]}]}))
    write_images(folder / "train2014", names, ROWS)
    return {f"{name}-{100 + n}": {key: v[n] for key, v in part.items()} for n, name in enumerate(names)}


MPII_OF_44 = [25, 26, 27, 28, 29, 30, 39, 40, 37, 38, 31, 32, 33, 34, 35, 36]


def write_hourglass(folder: Path, codes: bool = False) -> dict:
    """The stacked hourglass's train.h5; names as text, or as codes of characters."""
    import h5py

    drawn = people()
    part = {label: values[ROWS] for label, values in drawn.items()}
    names = [f"{n:09d}.jpg" for n in ROWS]
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "train.h5", "w") as file:
        file["center"], file["scale"] = part["box_center"], part["box_size"] / 200
        file["part"] = part["keypoints_2d"][:, MPII_OF_44, :2]
        text = np.array([[float(ord(c)) for c in name] + [0.0, 0.0] for name in names])
        file["imgname"] = text if codes else np.array([name.encode() for name in names])
    write_images(folder / "images", names, ROWS)
    return truth_of(part, names)
