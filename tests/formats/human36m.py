"""Human3.6M's own files: CDF poses, MATLAB boxes, frames of the videos."""

import struct
from pathlib import Path

import numpy as np

from formats.camerahmr_npz import write_images
from formats.people import people

H36M_17_OF_32 = [11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27]
GLOBAL = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]  # their rows among SPIN's 24
STEM = "S9/MyPoseFeatures"


def cdf(values: np.ndarray) -> bytes:
    """A plain CDF 3 file with the variable "Pose" of one record, little-endian float64 (see tests/data/make_cdf.py)."""
    data = np.ascontiguousarray(values, "<f8").tobytes()
    name = b"Pose".ljust(256, b"\0")
    sizes = struct.pack(">i", values.ndim) + struct.pack(f">{values.ndim}i", *values.shape)
    sizes += struct.pack(f">{values.ndim}i", *[-1] * values.ndim)
    copyright_text = b"test".ljust(256, b"\0")
    cdr_at = 8
    gdr_at = cdr_at + 56 + 256
    zvdr_at = gdr_at + 84
    vxr_at = zvdr_at + 340 + len(sizes)
    vvr_at = vxr_at + 28 + 16
    end = vvr_at + 12 + len(data)
    cdr = struct.pack(">qiqiiiiiiiii", 56 + 256, 1, gdr_at, 3, 8, 6, 3, 0, 0, 0, 0, 0)[:56] + copyright_text
    gdr = struct.pack(">qiqqqqiiiiiqiii", 84, 2, 0, zvdr_at, 0, end, 0, 0, -1, 0, 1, 0, 0, 0, 0)
    zvdr = struct.pack(">qiqiiqqiiiiiiiqi", 340 + len(sizes), 8, 0, 45, 0, vxr_at, vxr_at, 1, 0, 0, -1, -1, 1, 0, -1, 0)
    vxr = struct.pack(">qiqiiiiq", 44, 6, 0, 1, 1, 0, 0, vvr_at)
    vvr = struct.pack(">qi", 12 + len(data), 7) + data
    return struct.pack(">II", 0xCDF30001, 0x0000FFFF) + cdr + gdr + zvdr + name + sizes + vxr + vvr


def write(folder: Path, frames: int = 11, boxes: bool = True, points_2d: bool = True) -> dict:
    """A video of S9 with a person who is another one every frame; every fifth frame is a file. Returns label truth."""
    import h5py

    drawn = people(11)
    name = "Walking 1.60457274"
    part = {label: values[:frames] for label, values in drawn.items()}
    spin = part["keypoints_3d"][:, 25:44]
    points_3d, points = np.zeros((frames, 32, 3)), np.zeros((frames, 32, 2))
    for source, row in zip(H36M_17_OF_32, GLOBAL, strict=True):
        if row < 19:
            points_3d[:, source] = 1000 * spin[:, row, :3]
            points[:, source] = part["keypoints_2d"][:, 25 + row, :2]
    features = folder / "S9" / "MyPoseFeatures"
    for kind, values in (
        ("D3_Positions_mono", points_3d.reshape(frames, 96)),
        ("D2_Positions", points.reshape(frames, 64)),
    ):
        if kind == "D2_Positions" and not points_2d:
            continue
        (features / kind).mkdir(parents=True, exist_ok=True)
        (features / kind / f"{name}.cdf").write_bytes(cdf(values))
    if boxes:
        path = folder / "S9" / "MySegmentsMat" / "ground_truth_bb" / f"{name}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            references = []
            for frame in range(frames):
                mask = np.zeros((160, 160), np.uint8)
                (left, top), side = part["box_center"][frame] - part["box_size"][frame] / 2, part["box_size"][frame]
                mask[max(0, int(top)) : int(top + side), max(0, int(left)) : int(left + side)] = 1
                references.append(file.create_dataset(f"#refs#/{frame}", data=mask.T).ref)
            masks = file.create_dataset("Masks", (frames, 1), dtype=h5py.ref_dtype)
            masks[:, 0] = references
    numbers = list(range(1, frames + 1, 5))
    names = [f"S9_Walking_1.60457274_{number:06d}.jpg" for number in numbers]
    write_images(folder / "images", names, [number - 1 for number in numbers], drawn)
    return part
