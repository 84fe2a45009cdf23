"""Fuzzes the label files of data set builders: pickles, npz, tar, JSON, XML, HDF5, MATLAB and CDF files.

    python tests/fuzz_labels.py --minutes 10

A whole file is changed at random where its structure allows it: fields are missing, renamed, of another shape, type or
range. Whatever is in it, a build ends in a ValueError or OSError of one sentence that names the file, or in records
without problems whose labels are the numbers in the file. tests/test_fuzz_labels.py runs a bounded number of the same
examples, and the changes that once broke a builder.
"""

import contextlib
import io
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etils import epath
from fuzz import mutate
from fuzz_changes import changes
from fuzz_label_kinds import FOLDER, KINDS
from fuzz_label_truth import CHECKS
from fuzz_loop import answer, run_for_minutes

from data_pipelines.builders import load_builder
from data_pipelines.builders.report import Report
from data_pipelines.records.reader import import_tensorflow

import_tensorflow()
_READY: dict[str, tuple[Path, Any, Any]] = {}


def ready(kind: str) -> tuple[Path, Any, Any]:
    """The folder of a data set, the contents of the file that is changed, and the builder; made when first needed."""
    if kind not in _READY:
        described, folder = KINDS[kind], FOLDER / kind
        described.write(folder)
        name, _, config = described.builder.partition("/")
        options = described.options() | ({"config": config} if config else {})
        builder = load_builder(name)(data_dir=FOLDER / "tfds", file_format="array_record", **options)
        builder.manual_dir = epath.Path(folder)
        _READY[kind] = folder, described.read(folder / described.file), builder
    return _READY[kind]


def build(kind: str, data: bytes) -> dict[str, Any]:
    """The records that are built where the file holds `data`, by key."""
    folder, _, builder = ready(kind)
    (folder / KINDS[kind].file).write_bytes(data)
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
        data = KINDS[kind].data(changes(tree, rng))
    except Exception:
        return None
    return mutate(data, rng) if rng.random() < KINDS[kind].damaged else data


def check(kind: str, data: bytes) -> bool:
    """Builds, and returns whether there were records rather than an error or none."""
    try:
        records = build(kind, data)
    except (ValueError, OSError) as error:
        message = str(error)
    else:
        for key, record in records.items():
            assert all(np.isfinite(record[name]).all() for name in ("keypoints_2d", "keypoints_3d"))
            if kind in CHECKS:
                CHECKS[kind](ready(kind)[0], key, record)
        return bool(records)
    lines = [line for line in message.splitlines() if line.strip()]
    assert kind == "mlb_pitch" or len(lines) == 1, message
    assert Path(KINDS[kind].file).name in message, message
    return False


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there were records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answer(kind, seed, lambda: (data := example(kind, seed)) is not None and check(kind, data), ())[0]


def main() -> None:
    run_for_minutes(__doc__, KINDS, one)


if __name__ == "__main__":
    main()
