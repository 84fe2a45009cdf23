"""MPI-INF-3DHP: MATLAB cells of 28 joints for training, HDF5 with 17 for the test, a text file of cameras."""

from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

from data_pipelines.builders.datasets.mpi_inf_3dhp import FROM_28, FROM_TEST_17
from data_pipelines.builders.labels.keypoints import H36M_17_TO_SPIN
from formats.people import jpeg, people

FRAMES = 21
IN_44 = [25 + row for row in H36M_17_TO_SPIN]
"""Where the 17 points of Human3.6M's order are among our 44."""


def write(folder: Path, cameras=(0, 8), **changes) -> dict[str, np.ndarray]:
    """A training sequence of one person who stands still, seen by two cameras alike, and a test sequence."""
    person = {name: values[0] for name, values in people().items()}
    pixels, millimetres = person["keypoints_2d"][IN_44, :2], 1000 * person["keypoints_3d"][IN_44, :3]
    sequence = folder / "S1" / "Seq1"
    sequence.mkdir(parents=True, exist_ok=True)
    cells = {name: np.empty((14, 1), object) for name in ("annot2", "annot3")}
    for camera in range(14):
        for name, values in (("annot2", pixels), ("annot3", millimetres)):
            joints = np.full((FRAMES, 28, values.shape[1]), 17.0)
            joints[:, FROM_28] = values
            cells[name][camera, 0] = joints.reshape(FRAMES, -1)
    for (name, camera, frame), value in changes.get("train", {}).items():
        cells[name][camera, 0][frame] = value
    savemat(sequence / "annot.mat", cells | {"cameras": np.arange(14.0), "frames": np.arange(1.0, FRAMES + 1)})
    inner = np.eye(4)
    inner[:3, :3] = person["intrinsics"]
    lines = ["Skeletool Camera Calibration File V1.0"]
    for camera in range(14):
        lines += [f"name {camera}", "  sensor 10 10", "  size 160 160", "  animated 0"]
        lines += ["  intrinsic " + " ".join(f"{x:.12g}" for x in inner.ravel())]
        lines += ["  extrinsic " + " ".join(f"{x:.12g}" for x in np.eye(4).ravel()), "  radial 0"]
    (sequence / "camera.calibration").write_text("\n".join(lines) + "\n")
    for camera in cameras:
        images = sequence / "imageFrames" / f"video_{camera}"
        images.mkdir(parents=True, exist_ok=True)
        for frame in (0, 10, 20):
            (images / f"frame_{frame + 1:06d}.jpg").write_bytes(jpeg(person["image"]))

    test = folder / "TS1"
    (test / "imageSequence").mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, values in (("annot2", pixels), ("univ_annot3", millimetres)):
        arrays[name] = np.zeros((3, 1, 17, values.shape[1]))
        arrays[name][:, 0, list(FROM_TEST_17)] = values
    with h5py.File(test / "annot_data.mat", "w") as file:
        for name, values in (arrays | {"valid_frame": np.array([[1.0], [0], [1]])}).items():
            file[name] = values
    for frame in range(3):
        (test / "imageSequence" / f"img_{frame + 1:06d}.jpg").write_bytes(jpeg(person["image"]))
    return person
