"""Mixtures: the papers' recipes run on data in their own formats, and the log says what each set contributes."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from data_pipelines import mixtures
from data_pipelines.index_stream import IndexStream
from data_pipelines.sources import make_source
from hmr_jax.cli import load_config
from hmr_jax.config import DataConfig, DatasetConfig
from hmr_jax.mixture import contributions, per_dataset, training_mixture

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("name", "sets"), [("HMR2A", 4), ("D2A", 4), ("HMR2B", 8), ("TOKENHMR", 9), ("CAMERAHMR", 5)])
def test_the_recipes_of_the_papers_are_whole(name, sets):
    mixture = getattr(mixtures, name)
    assert len({dataset.name for dataset in mixture}) == sets
    assert sum(dataset.weight for dataset in mixture) == pytest.approx(1)
    drawn, _ = IndexStream((7,) * sets, tuple(dataset.weight for dataset in mixture))(np.arange(3000))
    np.testing.assert_array_equal(np.bincount(drawn), [round(3000 * dataset.weight) for dataset in mixture])


def test_three_dpw_is_switched_by_one_field():
    data = DataConfig(datasets=mixtures.HMR2B)
    assert training_mixture(data) == mixtures.HMR2B
    mixed = training_mixture(dataclasses.replace(data, three_dpw=0.2))
    assert mixed[:-1] == mixtures.HMR2B
    assert mixed[-1].name == "three_dpw"
    assert mixed[-1].weight / sum(dataset.weight for dataset in mixed) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="0 <= share < 1, not 1"):
        training_mixture(dataclasses.replace(data, three_dpw=1.0))
    with pytest.raises(ValueError, match=r"among data\.datasets already"):
        training_mixture(DataConfig(datasets=(DatasetConfig("three_dpw"),), three_dpw=0.2))


def test_each_data_set_has_the_mean_of_its_own_losses(tmp_path):
    config = tiny.config(
        tmp_path, data=DataConfig(datasets=(DatasetConfig("a"), DatasetConfig("b"), DatasetConfig("c")))
    )
    weight = config.loss.betas
    steps = [([1.0, 2, 9, 4], [0, 0, 1, 0]), ([5.0, 6, 7, 8], [0, 1, 1, 1])]
    rows = [
        jax.device_get(
            contributions(config, {"betas": jnp.array(loss)}, {"dataset": jnp.array(which), "valid": jnp.ones(4)})
        )
        for loss, which in steps
    ]
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} | {"lr": 3.0}
    result = per_dataset(means, 8)
    assert result.pop("lr") == 3.0
    assert result == pytest.approx(
        {
            "examples/a": 4, "examples/b": 4, "examples/c": 0,
            "loss/a": weight * (1 + 2 + 4 + 5) / 4, "loss/b": weight * (9 + 6 + 7 + 8) / 4,
        },
        rel=1e-5,
    )  # fmt: skip
    assert contributions(config, {}, {"valid": jnp.ones(4)}) == {}  # batches that do not say where they are from
    one = dataclasses.replace(config, data=DataConfig())
    assert contributions(one, {}, {"dataset": jnp.zeros(4), "valid": jnp.ones(4)}) == {}


@pytest.fixture(scope="module")
def paper_data(tmp_path_factory):
    """All sets of the paper's configuration, from files in their owners' formats."""
    pytest.importorskip("tensorflow_datasets")
    from formats import hmr2_tars, three_dpw

    from data_pipelines.build import build
    from data_pipelines.builders.hmr2_sets import HMR2_SETS

    manual, data = tmp_path_factory.mktemp("manual"), tmp_path_factory.mktemp("data")
    for dataset in mixtures.HMR2B:
        hmr2_tars.write(manual, HMR2_SETS[dataset.name.partition("/")[2]].folder)
        build(dataset.name, data, manual, body="default")
    three_dpw.write(manual)
    build("three_dpw", data, manual, body="default")
    return data


def test_the_papers_configuration_trains_on_all_its_data(paper_data, tmp_path):
    small = (
        "--model.encoder.image-size 32 32 --model.encoder.dim 16 --model.encoder.depth 1 --model.encoder.num-heads 2 "
        "--model.decoder.dim 16 --model.decoder.depth 1 --model.decoder.num-heads 2 --model.decoder.head-dim 8 "
        "--model.decoder.mlp-dim 16 --model.decoder.queries single --model.decoder.attention plain "
        "--data.crop-size 32 --batch-size 16 --steps 4 --eval-every 0 --log-every 2 --data.three-dpw 0.1"
    )
    command = [sys.executable, "train.py", "--config", "configs/deforhmr_paper.py", *small.split()]
    command += ["--data.directory", str(paper_data), "--output", str(tmp_path)]
    # One device and code that is not optimised: compiling is nearly all of the time.
    environment = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(command, check=True, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert "data hmr2_tars/h36m 0.090, " in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "deforhmr_paper" / "metrics.jsonl").read_text().splitlines()]
    training = [row for row in rows if "train/loss" in row]
    names = [dataset.name for dataset in mixtures.HMR2B] + ["three_dpw"]
    drawn = {name: sum(row[f"train/examples/{name}"] for row in training) for name in names}
    assert sum(drawn.values()) == 4 * 16
    assert all(drawn.values())
    assert drawn["hmr2_tars/insta"] > 5 * drawn["hmr2_tars/mpi_inf"]
    assert drawn["three_dpw"] in (6, 7)
    for name in names:
        assert any(np.isfinite(row.get(f"train/loss/{name}", np.nan)) for row in training)
    whole = sum(row["train/loss"] * sum(row[f"train/examples/{name}"] for name in names) for row in training)
    parts = sum(row.get(f"train/loss/{name}", 0) * row[f"train/examples/{name}"] for row in training for name in names)
    assert parts == pytest.approx(whole, rel=1e-3)


def test_the_papers_configuration_is_evaluated_on_3dpw(paper_data):
    paper = load_config(ROOT / "configs" / "deforhmr_paper.py")
    data = dataclasses.replace(paper.data, directory=str(paper_data), crop_size=32)
    for split in ("validation", "test"):
        (batch,) = make_source(dataclasses.replace(paper, data=data, batch_size=4), split)(0)
        assert batch["valid"].tolist() == [1, 1, 1, 0]
        assert (batch["keypoints_3d"][:3, :, 3] == 1).all()
