"""Mixtures: the papers' recipes run on data in their own formats, and the log says what each set contributes."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from data_pipelines import mixtures
from data_pipelines.loading.index_stream import IndexStream
from data_pipelines.sources import make_source
from hmr_jax.cli import load_config
from hmr_jax.config import DataConfig, DatasetConfig, training_mixture
from hmr_jax.training.mixture import contributions, names, per_dataset

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
    from data_pipelines.builders.formats.hmr2_tars import HMR2_SETS

    manual, data = tmp_path_factory.mktemp("manual"), tmp_path_factory.mktemp("data")
    for dataset in mixtures.HMR2B:
        hmr2_tars.write(manual, HMR2_SETS[dataset.name.partition("/")[2]].folder)
        build(dataset.name, data, manual, body="default")
    three_dpw.write(manual)
    build("three_dpw", data, manual, body="default")
    return data


ONLY_EVALUATED = {"emdb", "rich_eval_npz"}
"""Builders of data sets that have a test split and no other."""


@pytest.fixture(scope="module")
def every_set(paper_data, tmp_path_factory):
    """Beside the paper's sets one of every other builder that makes training records; their names."""
    pytest.importorskip("h5py")
    from formats import bedlam, camerahmr_npz, hmr2_eval_npz, mlb_pitch, mpi_inf_3dhp, rich, smplx, spin_npz

    from data_pipelines.build import build
    from data_pipelines.builders import BUILDERS

    names = [dataset.name for dataset in mixtures.HMR2B] + ["three_dpw"]

    def add(name, write=None, *arguments, **options):
        manual = None if write is None else tmp_path_factory.mktemp("manual")
        if write is not None:
            write(manual, *arguments)
        assert build(name, paper_data, manual, **options)["train"]["kept"] > 0
        names.append(name)

    def write_lspet(folder):
        hmr2_eval_npz.write(folder, "coco_val")  # which has the columns of files without bodies
        (folder / "coco_val.npz").rename(folder / "hr-lspet_train.npz")

    fit_files = dict(zip(("smplx", "vertex_map"), map(str, smplx.write(tmp_path_factory.mktemp("smplx"))), strict=True))
    images = [f"{row}.jpg" for row in range(3)]
    add("synthetic_people", examples={"train": 3}, size=64)
    add("camerahmr_npz/aic", camerahmr_npz.write, body="default")
    add("bedlam", bedlam.write, "smpl", body="default")
    add("coco_pose/annotations", spin_npz.write_coco)
    add("human36m/train", spin_npz.write, "h36m_train.npz", images, body="default")
    add("mpii/annotations", spin_npz.write_hourglass)
    add("hmr2_eval_npz/hr-lspet_train", write_lspet)
    add("mlb_pitch", mlb_pitch.write)
    add("mpi_inf_3dhp", mpi_inf_3dhp.write, cameras=(0, 8))
    add("rich", rich.write, "train", (17,), body="default", **fit_files)
    # A new builder has to join, unless it has nothing to train on.
    assert {name.partition("/")[0] for name in names} == BUILDERS.keys() - ONLY_EVALUATED
    return tuple(names)


def trained(config: Path, data: Path, output: Path, *options: str) -> tuple[str, list[dict]]:
    """What train.py prints with a tiny model, and the rows of its log that are about training."""
    small = (
        "--model.encoder.image-size 32 32 --model.encoder.dim 16 --model.encoder.depth 1 --model.encoder.num-heads 2 "
        "--model.decoder.dim 16 --model.decoder.depth 1 --model.decoder.num-heads 2 --model.decoder.head-dim 8 "
        "--model.decoder.mlp-dim 16 --model.decoder.queries single --model.decoder.attention plain "
        "--data.crop-size 32 --steps 4 --eval-every 0 --log-every 2 --optim.random-frozen"
    )
    command = [sys.executable, "train.py", "--config", str(config), *small.split(), *options]
    command += ["--data.directory", str(data), "--output", str(output)]
    # One device and code that is not optimised: compiling is nearly all of the time.
    environment = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(command, check=True, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    rows = [json.loads(line) for line in (output / "deforhmr_paper" / "metrics.jsonl").read_text().splitlines()]
    return done.stdout, [row for row in rows if "train/loss" in row]


def check_shares(rows: list[dict], sets: Sequence[str], examples: int) -> None:
    """Every set has examples and a finite loss of its own, and together they are the whole."""
    drawn = {name: sum(row[f"train/examples/{name}"] for row in rows) for name in sets}
    assert sum(drawn.values()) == examples
    assert all(drawn.values()), drawn
    for name in sets:
        losses = [row[f"train/loss/{name}"] for row in rows if row[f"train/examples/{name}"]]
        assert np.isfinite(losses).all()
        assert min(losses) > 0
    whole = sum(row["train/loss"] * sum(row[f"train/examples/{name}"] for name in sets) for row in rows)
    parts = sum(row.get(f"train/loss/{name}", 0) * row[f"train/examples/{name}"] for row in rows for name in sets)
    assert parts == pytest.approx(whole, rel=1e-3)


def test_the_papers_configuration_draws_all_its_data_in_its_shares(paper_data):
    paper = load_config(ROOT / "configs" / "deforhmr_paper.py")
    data = dataclasses.replace(paper.data, directory=str(paper_data), crop_size=32, three_dpw=0.1)
    mixed = training_mixture(data)
    assert names(mixed).startswith("hmr2_tars/h36m 0.090, ")
    source = make_source(dataclasses.replace(paper, data=data, batch_size=16), "train")(0)
    drawn = np.bincount(np.concatenate([next(source)["dataset"] for _ in range(4)]), minlength=len(mixed))
    shares = dict(zip([dataset.name for dataset in mixed], drawn.tolist(), strict=True))
    assert min(drawn) > 0
    assert shares["hmr2_tars/insta"] > 5 * shares["hmr2_tars/mpi_inf"]
    assert shares["three_dpw"] in (6, 7)


def test_the_papers_configuration_trains_on_the_sets_of_all_builders_mixed(paper_data, every_set, tmp_path):
    config = tmp_path / "everything.py"
    config.write_text(
        f"""
import dataclasses
from hmr_jax.cli import load_config
from hmr_jax.config import DatasetConfig

def get_config():
    paper = load_config("configs/deforhmr_paper.py")
    datasets = tuple(map(DatasetConfig, {every_set}))
    return dataclasses.replace(paper, data=dataclasses.replace(paper.data, datasets=datasets))
"""
    )
    printed, rows = trained(config, paper_data, tmp_path, "--batch-size", "36")
    assert "data hmr2_tars/h36m " in printed
    check_shares(rows, every_set, 4 * 36)


def test_the_papers_configuration_is_evaluated_on_3dpw(paper_data):
    paper = load_config(ROOT / "configs" / "deforhmr_paper.py")
    data = dataclasses.replace(paper.data, directory=str(paper_data), crop_size=32)
    for split in ("validation", "test"):
        (batch,) = make_source(dataclasses.replace(paper, data=data, batch_size=4), split)(0)
        assert batch["valid"].tolist() == [1, 1, 1, 0]
        assert (batch["keypoints_3d"][:3, :, 3] == 1).all()
