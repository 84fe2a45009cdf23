"""CameraHMR's releases: one npz file, and images next to it."""

from pathlib import Path

import numpy as np

from formats.people import jpeg, people


def write(folder: Path, name: str = "aic", **changes) -> dict[str, dict]:
    """Four people, the last two of one image. Returns key: truth."""
    drawn = people()
    rows = [0, 1, 2, 2]
    names = np.array([f"{name}/{row:03d}.jpg" for row in rows])
    columns = {
        "imgname": names,
        "center": drawn["box_center"][rows].astype(np.float64),
        "scale": drawn["box_size"][rows].astype(np.float64) / 200,
        "pose": drawn["pose"][rows].astype(np.float32),
        "shape": drawn["betas"][rows].astype(np.float32),
        "cam_int": drawn["intrinsics"][rows].astype(np.float32),
        "cam_t": drawn["translation"][rows].astype(np.float32),
        "gtkps": drawn["keypoints_2d"][rows].astype(np.float32),
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}-release.npz", **{k: v for k, v in columns.items() if v is not None})
    write_images(folder / "images", names, rows)
    return {
        f"{file}-{number}": {label: values[row] for label, values in drawn.items()}
        for number, (file, row) in enumerate(zip(names, rows, strict=True))
    }


def write_images(folder: Path, names, rows, drawn=None) -> None:
    drawn = drawn or people()
    for name, row in zip(names, rows, strict=True):
        name = name.decode() if isinstance(name, bytes) else name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(drawn["image"][row]))
