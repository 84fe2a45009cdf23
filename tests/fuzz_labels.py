"""Fuzzes the label files of data set builders: tars, pickles, npz files and captures in JSON.

    python tests/fuzz_labels.py --minutes 10

A whole file is changed at random where its structure allows it: fields are missing, renamed, of another shape, type or
range. Whatever is in it, a build ends in a ValueError or OSError of one sentence that names the file, or in records
without problems whose labels are the numbers in the file. tests/test_fuzz_labels.py runs a bounded number of the same
examples, and the changes that once broke a builder.
"""

import contextlib
import copy
import io
import json
import pickle
import random
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etils import epath
from formats import camerahmr_npz, hmr2_eval_npz, hmr2_tars, mlb_pitch, spin_npz, three_dpw
from formats.people import python2_pickle
from fuzz import mutate
from fuzz_inputs import JUNK, NUMBERS
from fuzz_loop import run_for_minutes

from data_pipelines.builders import load_builder
from data_pipelines.builders.formats import capture
from data_pipelines.builders.report import Report
from data_pipelines.records.reader import import_tensorflow

import_tensorflow()
_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_labels_")  # until the process ends
FOLDER = Path(_KEPT.name)
TYPES = (np.float16, np.float32, np.int64, np.uint8, bool, complex, object, str, bytes, ">f8")


def change_array(array: np.ndarray, rng: random.Random) -> Any:
    """An array of another shape, type or range."""
    kind = rng.randrange(10)
    try:
        if kind == 0:
            return array.astype(rng.choice(TYPES))
        if kind == 1:
            return array[..., None] if rng.random() < 0.5 else array[None]
        if kind == 2:
            return np.asfortranarray(array).T if rng.random() < 0.5 else np.asfortranarray(array)
        if kind == 3:
            return array.ravel()
        if kind == 4 and array.ndim:
            axis = rng.randrange(array.ndim)
            return np.take(array, range(rng.randrange(array.shape[axis] + 1)), axis)
        if kind == 5 and array.ndim:
            axis = rng.randrange(array.ndim)
            return np.concatenate([array, array], axis)
        if kind == 6:
            return array.dtype.type(0)
        if kind == 7:
            return array * rng.choice(NUMBERS)
        if kind == 8:
            return array.tolist()
        changed = array.copy() if rng.random() < 0.7 else array.astype(object)
        changed[tuple(rng.randrange(length) for length in array.shape)] = rng.choice((*NUMBERS, *JUNK[:8]))
    except (TypeError, ValueError, OverflowError, np.exceptions.DTypePromotionError):
        return rng.choice(JUNK[:11])
    return changed


def change(tree: Any, rng: random.Random) -> Any:
    """A copy of nested containers with one change."""
    if isinstance(tree, np.ndarray) and tree.dtype != object:
        return change_array(tree, rng)
    if isinstance(tree, dict) and tree and rng.random() < 0.95:
        changed, key = dict(tree), rng.choice(list(tree))
        kind = rng.random()
        if kind < 0.8:
            changed[key] = change(tree[key], rng)
        elif kind < 0.9:
            del changed[key]
        else:
            changed[rng.choice((f"{key}_", "x", *tree))] = changed.pop(key)
        return changed
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.95:
        changed, place = list(tree), rng.randrange(len(tree))
        kind = rng.random()
        if kind < 0.8:
            changed[place] = change(tree[place], rng)
        elif kind < 0.9:
            del changed[place]
        else:
            changed.insert(rng.randrange(len(tree) + 1), copy.deepcopy(tree[place]))
        return changed
    return rng.choice((*NUMBERS, *JUNK[:11]))


def changes(tree: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = change(tree, rng)
    return tree


# ---------------------------------------------------------------------------------------------- the files of builders


def npz_bytes(columns: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=True) as file:
        return dict(file)


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


NAMES = [f"images/{number}.jpg" for number in range(3)]
# Kind: builder, its options, what writes a whole data set, the file that is changed, how it is read and written.
KINDS: dict[str, tuple[str, dict, Callable[[Path], Any], str, Callable[[Path], Any], Callable[[Any], bytes]]] = {
    "hmr2_tars": (
        "hmr2_tars/aic", {}, hmr2_tars.write, "aic-train-vitpose/000000.tar", tar_samples, tar_bytes,
    ),
    "three_dpw": (
        "three_dpw", {"body": "default"}, lambda folder: three_dpw.write(folder, ("train",)),
        "sequenceFiles/train/outdoors_train_00.pkl", lambda path: pickle.loads(path.read_bytes(), encoding="latin1"),
        python2_pickle,
    ),
    "camerahmr_npz": (
        "camerahmr_npz/aic", {"body": "default"}, camerahmr_npz.write, "aic-release.npz", read_npz, npz_bytes,
    ),
    "spin_npz": (
        "mpii/spin", {}, lambda folder: spin_npz.write(folder, "mpii_train.npz", NAMES), "mpii_train.npz", read_npz,
        npz_bytes,
    ),
    "cliff_npz": (
        "mpii/cliff", {"body": "default"},
        lambda folder: spin_npz.write(folder, "mpii_cliffGT.npz", NAMES, cliff=True), "mpii_cliffGT.npz", read_npz,
        npz_bytes,
    ),
    "hmr2_eval_npz": (
        "hmr2_eval_npz/3dpw_test", {"body": "default"}, lambda folder: hmr2_eval_npz.write(folder, "3dpw_test"),
        "3dpw_test.npz", read_npz, npz_bytes,
    ),
    "mlb_pitch": (
        "mlb_pitch", {}, mlb_pitch.write, "train.json", lambda path: json.loads(path.read_text()),
        lambda tree: json.dumps(tree).encode(),
    ),
}  # fmt: skip
_READY: dict[str, tuple[Path, Any, Any]] = {}


def ready(kind: str) -> tuple[Path, Any, Any]:
    """The folder of a data set, the contents of the file that is changed, and the builder; made when first needed."""
    if kind not in _READY:
        name, options, write, file, read, _ = KINDS[kind]
        folder = FOLDER / kind
        write(folder)
        name, _, config = name.partition("/")
        builder = load_builder(name)(
            data_dir=FOLDER / "tfds", file_format="array_record", **options, **({"config": config} if config else {})
        )
        builder.manual_dir = epath.Path(folder)
        _READY[kind] = folder, read(folder / file), builder
    return _READY[kind]


def build(kind: str, data: bytes) -> dict[str, Any]:
    """The records that are built where the file holds `data`, by key."""
    folder, _, builder = ready(kind)
    (folder / KINDS[kind][3]).write_bytes(data)
    capture.read.cache_clear()
    records = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for split, blocks in builder.blocks(epath.Path(folder)).items():
            for key, record in builder.kept(split, blocks, Report(), progress=False):
                records[key] = record
    return records


def example(kind: str, seed: int) -> bytes | None:
    """A changed file; None if the change cannot be written in this format."""
    rng = random.Random(seed)
    _, tree, _ = ready(kind)
    try:
        data = KINDS[kind][5](changes(tree, rng))
    except Exception:
        return None
    return mutate(data, rng) if rng.random() < 0.1 else data


# Kind: the column of 2-D keypoints, the rows of the 44 that it fills, and columns that records hold as they are.
ROWS: dict[str, tuple[str, list[int], dict[str, str]]] = {
    "camerahmr_npz": ("gtkps", list(range(44)), {"cam_t": "translation", "shape": "betas", "pose": "body_pose"}),
    "spin_npz": ("part", list(range(25, 44)), {"shape": "betas", "pose": "body_pose"}),
    "cliff_npz": ("part", list(range(25, 44)), {"global_t": "translation", "shape": "betas", "pose": "body_pose"}),
}


def check_row(kind: str, data: bytes, row: int, record: dict[str, Any]) -> None:
    """Whether a record says what its row of an npz file does."""
    column, places, same = ROWS[kind]
    columns = read_npz(io.BytesIO(data))  # type: ignore[arg-type]
    left, top, right, _ = record["image"]["source_box"]
    if column in columns:
        wanted = np.array(columns[column][row].tolist(), np.float64)[: len(places)]
        points, seen = record["keypoints_2d"][places], wanted[:, 2] > 0
        step = (right - left) / record["image"]["width"]
        found = (points[:, :2] + 0.5) * step + (left, top)
        np.testing.assert_allclose(found[seen] - 0.5, wanted[seen, :2], atol=0.02, rtol=1e-4)
        np.testing.assert_allclose(points[seen, 2], wanted[seen, 2], rtol=1e-5)
        assert not points[~seen].any()
    for name, label in same.items():
        if name in columns and record["smpl"][f"has_{label.removeprefix('body_')}"]:
            wanted = np.array(columns[name][row].tolist(), np.float64).ravel()
            wanted = wanted[:10] if label == "betas" else wanted[3:] if label == "body_pose" else wanted
            np.testing.assert_allclose(record["smpl"][label], wanted, rtol=1e-5, atol=1e-6)


def check(kind: str, data: bytes) -> bool:
    """Builds, and returns whether there were records rather than an error or none."""
    try:
        records = build(kind, data)
    except (ValueError, OSError) as error:
        message = str(error)
    else:
        for key, record in records.items():
            assert all(np.isfinite(record[name]).all() for name in ("keypoints_2d", "keypoints_3d"))
            if kind in ROWS:
                check_row(kind, data, int(key.rpartition("-")[2]), record)
        return bool(records)
    lines = [line for line in message.splitlines() if line.strip()]
    assert kind == "mlb_pitch" or len(lines) == 1, message
    assert Path(KINDS[kind][3]).name in message, message
    return False


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there were records."""
    if (data := example(kind, seed)) is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return check(kind, data)
        except BaseException:
            print(f"{kind}, seed {seed}", file=sys.stderr)
            raise


def main() -> None:
    run_for_minutes(__doc__, KINDS, one)


if __name__ == "__main__":
    main()
