"""ProHMR's and HMR2.0's evaluation files, each with exactly the columns that it has."""

from pathlib import Path

import numpy as np

from formats.camerahmr_npz import write_images
from formats.people import people
from formats.three_dpw import COCO_18_OF_44

ROWS = [0, 1, 2]


def write(folder: Path, file: str, **changes) -> dict[str, dict]:
    """Writes `file`.npz with three people; returns key: truth."""
    drawn = people()
    part = {label: values[ROWS] for label, values in drawn.items()}
    names = {
        "3dpw_test": np.array([f"imageFiles/outdoors_00/image_{row:05d}.jpg".encode() for row in ROWS]),
        "h36m_val_p2": np.array([f"images/S9_Walking_1.60457274_{row + 1:06d}.jpg" for row in ROWS]),
        "coco_val": np.array([f"val2014/COCO_val2014_{row:012d}.jpg" for row in ROWS]),
    }[file]
    coco_18 = np.zeros((3, 25, 3))
    coco_18[:, COCO_18_OF_44] = part["keypoints_2d"][:, COCO_18_OF_44]
    centred = part["keypoints_3d"].copy()
    centred[..., :3] -= centred[:, 39:40, :3]
    columns = {"imgname": names, "center": part["box_center"].astype(np.float64), "scale": part["box_size"]}
    columns |= {
        "3dpw_test": {
            "body_pose": part["pose"], "has_body_pose": np.ones(3), "betas": part["betas"], "has_betas": np.ones(3),
            "body_keypoints_2d": coco_18, "extra_keypoints_3d": centred[:, 25:], "gender": np.array(["m", "f", "m"]),
        },
        "h36m_val_p2": {"extra_keypoints_2d": part["keypoints_2d"][:, 25:], "extra_keypoints_3d": centred[:, 25:]},
        "coco_val": {
            "body_keypoints_2d": part["keypoints_2d"][:, :25], "extra_keypoints_2d": part["keypoints_2d"][:, 25:],
            "scale": np.stack([part["box_size"], part["box_size"] * 0.7], 1),
            "extra_info": np.array([{"coco_id": row} for row in ROWS], object),
        },
    }[file]  # fmt: skip
    columns |= changes
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{file}.npz", **{k: v for k, v in columns.items() if v is not None})
    write_images(folder / "images", names, ROWS)
    return {
        f"{name.decode() if isinstance(name, bytes) else name}-{row}": {
            key: values[row] for key, values in part.items()
        }
        for row, name in enumerate(names)
    }
