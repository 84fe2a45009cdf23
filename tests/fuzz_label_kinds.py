"""The label files that fuzz_labels.py changes: who writes a whole one, how it is read, and how it is written again."""

import contextlib
import io
import json
import pickle
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from formats import (
    bedlam,
    camerahmr_npz,
    emdb,
    hmr2_eval_npz,
    hmr2_tars,
    human36m,
    mlb_pitch,
    mpi_inf_3dhp,
    rich,
    smplx,
    spin_npz,
    three_dpw,
)
from formats.people import python2_pickle
from scipy.io import loadmat, savemat

from data_pipelines.builders.formats.cdf import read_variable
from hmr_jax.io import safe_pickle

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_labels_")  # until the process ends
FOLDER = Path(_KEPT.name)


def npz_bytes(columns: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    columns = {}
    with np.load(path, allow_pickle=True) as file:
        for name in file.files:
            with contextlib.suppress(zipfile.BadZipFile, zlib.error):  # a damaged column, which may not be needed
                columns[name] = file[name]
    return columns


def tar_bytes(samples: Any) -> bytes:
    """A tar of (name, contents) pairs; what are no bytes are pickled, or saved as an npz file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in samples:
            data = content
            if not isinstance(content, bytes):
                data = npz_bytes(content) if str(name).endswith("npz") else pickle.dumps(content, 4)
            member = tarfile.TarInfo(str(name))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def tar_samples(path: Path) -> list[list[Any]]:
    """The opposite of `tar_bytes`."""
    samples: list[list[Any]] = []
    with tarfile.open(path) as archive:
        for member in archive:
            data: Any = archive.extractfile(member).read()
            if member.name.endswith("pyd"):
                data = pickle.loads(data)  # written here
            elif member.name.endswith("npz"):
                data = read_npz(io.BytesIO(data))
            samples.append([member.name, data])
    return samples


def read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _plain(safe_pickle.load(file))


def _plain(tree: Any) -> Any:
    """Containers with NumPy's own arrays, which pickles name, instead of those of the safe reader."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return np.array(tree) if isinstance(tree, np.ndarray) else tree


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def json_bytes(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def read_xml(path: Path) -> dict[str, list]:
    """RICH's calibration: the numbers of each matrix, as they are written."""
    found = re.findall(r"<(\w+) type_id.*?<data>(.*?)</data>", path.read_text(), re.DOTALL)
    return {name: words.split() for name, words in found}


def xml_bytes(tree: dict[str, Any]) -> bytes:
    parts = (
        f"<{name} type_id='opencv-matrix'><data>{' '.join(map(str, words))}</data></{name}>"
        for name, words in tree.items()
    )
    return f"<?xml version='1.0'?><opencv_storage>{''.join(parts)}</opencv_storage>".encode()


def read_lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def lines_bytes(tree: list) -> bytes:
    return "\n".join(" ".join(map(str, line)) for line in tree).encode()


def read_hdf5(path: Path) -> dict[str, Any]:
    """The data sets of a file; the one named Masks holds references, which become the list of what they refer to."""
    with h5py.File(path) as file:
        tree = {name: file[name][()] for name in file if name not in ("#refs#", "Masks")}
        return tree | ({"Masks": [file[mask][()] for mask in file["Masks"][:, 0]]} if "Masks" in file else {})


def hdf5_bytes(tree: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in tree.items():
            if isinstance(values, list) and name == "Masks":
                masks = file.create_dataset(name, (len(values), 1), dtype=h5py.ref_dtype)
                masks[:, 0] = [file.create_dataset(f"#refs#/{n}", data=mask).ref for n, mask in enumerate(values)]
            else:
                file[name] = values
    return buffer.getvalue()


def read_mat(path: Path) -> dict[str, list]:
    """The cells of the first camera of annot.mat."""
    return {name: [loadmat(path)[name][0, 0]] for name in ("annot2", "annot3")}


def mat_bytes(tree: dict[str, Any]) -> bytes:
    cells: dict[str, Any] = {}
    for name, values in tree.items():
        cells[name] = values
        if isinstance(values, list):
            cells[name] = np.empty((len(values), 1), object)
            cells[name][:, 0] = values
    buffer = io.BytesIO()
    savemat(buffer, cells)
    return buffer.getvalue()


def read_cdf(path: Path) -> dict[str, np.ndarray]:
    return {"Pose": read_variable(path.read_bytes(), "Pose")[0]}


def cdf_bytes(tree: dict[str, Any]) -> bytes:
    ((name, values),) = tree.items()
    return human36m.cdf(np.asarray(values, np.float64)).replace(b"Pose", name[:4].ljust(4).encode())


def _smplx_files() -> dict[str, str]:
    """Options of builders whose labels are of SMPL-X."""
    folder = FOLDER / "smplx"
    if not folder.exists():
        smplx.write(folder)
    return {"body": "default", "smplx": str(folder), "vertex_map": str(folder / "smplx2smpl.pkl")}


def _flat() -> dict[str, Any]:
    """Of RICH: hands that SMPL can show, so that its bodies are those of the file."""
    return _smplx_files() | {"hands": False}


def _default() -> dict[str, str]:
    return {"body": "default"}


class Kind(NamedTuple):
    """A label file of a data set."""

    builder: str
    options: Callable[[], dict[str, Any]]
    write: Callable[[Path], Any]
    """Writes the whole data set."""
    file: str
    """The one that is changed."""
    read: Callable[[Path], Any]
    data: Callable[[Any], bytes]
    """The opposite of `read`."""
    damaged: float = 0.1
    """Share of examples whose bytes are changed, too."""


NAMES = [f"images/{number}.jpg" for number in range(3)]
_EMDB = "P1/14_outdoor_climb/P1_14_outdoor_climb_data.pkl"
_RICH = f"bodies/test/{rich.SEQUENCE}/00017/017.pkl"
_H36M = "Walking 1.60457274"
_ONE_SCENE = {"scenes": bedlam.SCENE}
_SCENE = f"training_labels/all_npz_12_training/{bedlam.SCENE}.npz"


def _cdf(features: str) -> Kind:
    file = f"S9/MyPoseFeatures/{features}/{_H36M}.cdf"
    return Kind("human36m/raw", dict, lambda folder: human36m.write(folder, frames=6), file, read_cdf, cdf_bytes, 0.5)


def _3dhp(file: str, *format: Any) -> Kind:
    return Kind(
        "mpi_inf_3dhp", lambda: {"cameras": (0,)}, lambda folder: mpi_inf_3dhp.write(folder, (0,)), file, *format
    )


def _spin(name: str, file: str, **options: Any) -> Kind:
    def write(folder: Path) -> None:
        spin_npz.write(folder, file, NAMES, **options)

    return Kind(name, _default if options else dict, write, file, read_npz, npz_bytes)


KINDS: dict[str, Kind] = {
    "hmr2_tars": Kind(
        "hmr2_tars/aic", dict, hmr2_tars.write, "aic-train-vitpose/000000.tar", tar_samples, tar_bytes,
    ),
    "three_dpw": Kind(
        "three_dpw", _default, lambda folder: three_dpw.write(folder, ("train",)),
        "sequenceFiles/train/outdoors_train_00.pkl", read_pickle, python2_pickle,
    ),
    "camerahmr_npz": Kind("camerahmr_npz/aic", _default, camerahmr_npz.write, "aic-release.npz", read_npz, npz_bytes),
    "spin_npz": _spin("mpii/spin", "mpii_train.npz"),
    "cliff_npz": _spin("mpii/cliff", "mpii_cliffGT.npz", cliff=True),
    "hmr2_eval_npz": Kind(
        "hmr2_eval_npz/3dpw_test", _default, lambda folder: hmr2_eval_npz.write(folder, "3dpw_test"), "3dpw_test.npz",
        read_npz, npz_bytes,
    ),
    "mlb_pitch": Kind("mlb_pitch", dict, mlb_pitch.write, "train.json", read_json, json_bytes),
    "emdb": Kind("emdb/emdb1", _default, emdb.write, _EMDB, read_pickle, pickle.dumps),
    "rich": Kind("rich", _flat, rich.write, _RICH, read_pickle, pickle.dumps),
    "rich_camera": Kind(
        "rich", _flat, rich.write, "scan_calibration/ParkingLot2/calibration/001.xml", read_xml, xml_bytes,
    ),
    "rich_genders": Kind("rich", _flat, rich.write, "resource/gender.json", read_json, json_bytes),
    "rich_eval_npz": Kind("rich_eval_npz", _smplx_files, rich.write_eval_npz, "rich_test.npz", read_npz, npz_bytes),
    "bedlam": Kind("bedlam", lambda: _smplx_files() | _ONE_SCENE, bedlam.write, _SCENE, read_npz, npz_bytes),
    "bedlam_smpl": Kind(
        "bedlam", lambda: _default() | _ONE_SCENE, lambda folder: bedlam.write(folder, "smpl", 44), _SCENE, read_npz,
        npz_bytes,
    ),
    "eft": Kind(
        "mpii/eft", _default, lambda folder: spin_npz.write_eft(folder, "MPII_ver01.json", NAMES), "MPII_ver01.json",
        read_json, json_bytes,
    ),
    "coco": Kind(
        "coco_pose/annotations", dict, spin_npz.write_coco, "annotations/person_keypoints_train2014.json", read_json,
        json_bytes,
    ),
    "hourglass": Kind("mpii/annotations", dict, spin_npz.write_hourglass, "train.h5", read_hdf5, hdf5_bytes),
    "human36m_3d": _cdf("D3_Positions_mono"),
    "human36m_2d": _cdf("D2_Positions"),
    "human36m_boxes": Kind(
        "human36m/raw", dict, lambda folder: human36m.write(folder, frames=6),
        f"S9/MySegmentsMat/ground_truth_bb/{_H36M}.mat", read_hdf5, hdf5_bytes,
    ),
    "3dhp_train": _3dhp("S1/Seq1/annot.mat", read_mat, mat_bytes),
    "3dhp_camera": _3dhp("S1/Seq1/camera.calibration", read_lines, lines_bytes),
    "3dhp_test": _3dhp("TS1/annot_data.mat", read_hdf5, hdf5_bytes),
}  # fmt: skip
