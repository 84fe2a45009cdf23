"""A mixture of built data sets gives the same first thousand examples on any number of hosts and after a restart."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from formats import camerahmr_npz, hmr2_tars, spin_npz, three_dpw

from data_pipelines.build import build
from data_pipelines.sources import make_source
from hmr_jax.config import Config, DataConfig, DatasetConfig, from_dict, to_dict

STEPS, BATCH = 5, 200
SHARES = {
    "hmr2_tars/aic": 0.4,
    "camerahmr_npz/aic": 0.3,
    "human36m/train": 0.1,
    "coco_pose/annotations": 0.1,
    "mpii/eft": 0.1,
}
ROOT = Path(__file__).parent.parent


def checksums(config: Config, first: int = 0, host: int = 0, hosts: int = 1) -> list[str]:
    """Of each example of this host's part of the batches from step `first` on."""
    batches = make_source(config, "train", process_index=host, process_count=hosts)(first)
    sums = []
    for _ in range(first, STEPS):
        batch = next(batches)
        rows = [{name: batch[name][i] for name in sorted(batch)} for i in range(len(batch["index"]))]
        sums += [
            hashlib.sha1(b"".join(np.ascontiguousarray(v).tobytes() for v in row.values())).hexdigest() for row in rows
        ]
    return sums


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    manual, data = tmp_path_factory.mktemp("manual"), tmp_path_factory.mktemp("data")
    hmr2_tars.write(manual / "tars")
    camerahmr_npz.write(manual / "npz")
    three_dpw.write(manual / "3dpw", ("train",))
    build("hmr2_tars/aic", data, manual / "tars", body="default")
    build("camerahmr_npz/aic", data, manual / "npz", body="default")
    build("three_dpw", data, manual / "3dpw", body="default")
    spin_npz.write(manual / "h36m", "h36m_train.npz", ["0.jpg", "1.jpg", "2.jpg"])
    spin_npz.write_coco(manual / "coco")
    spin_npz.write_eft(manual / "mpii", "MPII_ver01.json", ["0.jpg", "1.jpg", "2.jpg"])
    build("human36m/train", data, manual / "h36m", body="default")
    build("coco_pose/annotations", data, manual / "coco")
    build("mpii/eft", data, manual / "mpii", body="default")
    datasets = tuple(DatasetConfig(*share) for share in SHARES.items())
    data = DataConfig(
        directory=str(data), datasets=datasets, three_dpw=0.1, crop_size=32, dense=("mask",), dense_size=8
    )
    return Config(batch_size=BATCH, seed=11, data=data)


@pytest.fixture(scope="module")
def expected(config):
    return checksums(config)


def test_two_or_four_hosts_see_together_what_one_sees(config, expected):
    assert len(set(expected)) == STEPS * BATCH
    for hosts in (2, 4):
        parts = [np.array(checksums(config, host=host, hosts=hosts)).reshape(STEPS, -1) for host in range(hosts)]
        assert np.concatenate(parts, 1).ravel().tolist() == expected


def test_a_restart_in_a_new_process_continues_exactly(config, expected):
    code = (
        "import json, sys; sys.path.insert(0, 'tests'); import test_real_data_order as t;"
        "print(json.dumps(t.checksums(t.from_dict(json.loads(sys.stdin.read())), first=3)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(to_dict(config)), capture_output=True, text=True, check=True,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == expected[3 * BATCH :]
    assert from_dict(to_dict(config)) == config


def test_shares_are_exact_in_a_thousand(config):
    batches = make_source(config, "train")(0)
    drawn = np.bincount(np.concatenate([next(batches)["dataset"] for _ in range(STEPS)]))
    assert drawn.tolist() == [*(900 * share for share in SHARES.values()), 100]
