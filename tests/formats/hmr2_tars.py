"""4D-Humans' training tars: images, pickled lists of people, and detections with masks."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

from formats.people import jpeg, people


def person_of(drawn: dict, row: int, number: int = 0, **changes) -> dict:
    """A person dictionary as in `data.pyd`, with the same types."""
    loss = np.empty((), object)
    loss[()] = {"reprojection_loss": 1000.0 + row}
    return {
        "keypoints_2d": drawn["keypoints_2d"][row].astype(np.float32),
        "keypoints_3d": drawn["keypoints_3d"][row].astype(np.float32),
        "center": drawn["box_center"][row].astype(np.float64),
        "scale": np.full(2, drawn["box_size"][row] / 200),
        "body_pose": drawn["pose"][row].astype(np.float32),
        "betas": np.clip(drawn["betas"][row], -3, 3).astype(np.float32),
        "has_body_pose": np.array(1.0),
        "has_betas": np.array(True),
        "personid": number,
        "extra_info": {"detection_npz_idx": 1, "fitting_loss": loss},
        "image_file": "images/unused.jpg",
    } | changes


def detection(mask: np.ndarray) -> bytes:
    """An npz as detectors left it: the person is the second of two, other arrays may hold objects."""
    file = io.BytesIO()
    np.savez_compressed(file, masks=np.stack([~mask.astype(bool), mask.astype(bool)]), boxes=np.zeros((2, 4)))
    return file.getvalue()


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, contents in samples.items():
            for extension, data in contents.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def write(folder: Path, name: str = "aic-train-vitpose", protocol: int = 4) -> dict[str, dict]:
    """Two tars of two images; the second image has two people. Returns key: truth."""
    drawn = people()
    drawn = drawn | {"betas": np.clip(drawn["betas"], -3, 3)}
    truth = {}
    for tar in range(2):
        samples = {}
        for image in range(2):
            row = 2 * tar + image
            listed = [person_of(drawn, row, number) for number in range(1 + image)]
            key = f"{name}/{row:04x}abc"
            samples[key] = {"jpg": jpeg(drawn["image"][row]), "data.pyd": pickle.dumps(listed, protocol)}
            if image == 0:
                samples[key]["detection.npz"] = detection(drawn["mask"][row])
            for number in range(len(listed)):
                truth[f"{tar:06d}/{key}-{number}"] = {label: values[row] for label, values in drawn.items()}
        write_tar(folder / name / f"{tar:06d}.tar", samples)
    return truth
