"""`eval` scores what was asked for, says what is missing before it computes, and writes where results belong."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from scored_people import settings

from hmr_jax.batch import zeros
from hmr_jax.checkpoints import SHIPPED_MODEL, export
from hmr_jax.config import DatasetConfig, training_mixture
from hmr_jax.evaluation import commands
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params


class Opened(Exception):
    """Ends an evaluation where its data would be read."""


def model_for(path, *names, **changes):
    config = tiny.config("unused")
    data = dataclasses.replace(config.data, source="records", datasets=tuple(map(DatasetConfig, names)), **changes)
    config = dataclasses.replace(config, data=data)
    export(path, config, init_params(build_model(config.model), jax.random.key(0), zeros(1, 32)))
    return path


def opening(config, split, *_):
    raise Opened([dataset.name for dataset in config.data.evaluation or training_mixture(config.data)])


def run(tmp_path, checkpoints, protocols, open_source=opening, data="data"):
    commands.run(checkpoints, [], protocols, settings(data, tmp_path / "x.json"), open_source)


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (["three_dpw"], {}, r"made for three_dpw: name a --protocol, such as 3dpw-j14-pelvis or 3dpw-j14-hips"),
        (["synthetic_people", "mlb_pitch"], {}, r"synthetic_people, mlb_pitch: name a --protocol, such as mlb-pitch"),
        (["synthetic_people"], {"three_dpw": 0.1}, r"three_dpw: name a --protocol"),
        (["synthetic_people"], {"evaluation": (DatasetConfig("emdb/emdb1"),)}, r"emdb/emdb1: .*emdb1-24-kinematic"),
        (["my_own"], {}, r"my_own: name a --protocol; `hmr protocols` lists them"),
    ],
)
def test_without_a_protocol_only_synthetic_people_are_scored(tmp_path, names, changes, message):
    model = model_for(tmp_path / "model", *names, **changes)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, [model], [])


def test_the_protocol_of_the_run_is_the_default(tmp_path):
    config = dataclasses.replace(tiny.config("unused"), eval_protocol="mlb-pitch")
    export(tmp_path / "m", config, init_params(build_model(config.model), jax.random.key(0), zeros(1, 32)))
    with pytest.raises(Opened, match="mlb_pitch"):
        run(tmp_path, [tmp_path / "m"], [])


def test_synthetic_people_need_no_protocol(tmp_path):
    with pytest.raises(Opened, match="synthetic_people"):
        run(tmp_path, [model_for(tmp_path / "model", "synthetic_people")], [])
    with pytest.raises(Opened, match="three_dpw"):  # asked for, on the run's own data
        run(tmp_path, [model_for(tmp_path / "model", "three_dpw")], ["synthetic"])


def test_predictions_of_other_bodies_need_a_protocol(people_files, tmp_path):
    np.savez(tmp_path / "p.npz", **(dict(np.load(people_files[1])) | {"topology": "smpl"}))
    with pytest.raises(ValueError, match="holds 'smpl' bodies: name a --protocol"):
        commands.run([], [tmp_path / "p.npz"], [], settings(people_files[0], tmp_path / "x.json"), opening)


def test_a_protocol_scores_its_own_data_set_whatever_the_run_evaluated_on(tmp_path):
    for number, changes in enumerate(({"evaluation": (DatasetConfig("three_dpw"),)}, {"three_dpw": 0.3})):
        model = model_for(tmp_path / f"model{number}", "synthetic_people", **changes)
        with pytest.raises(Opened, match=r"^\['mlb_pitch'\]$"):
            run(tmp_path, [model], ["mlb-pitch"])


@pytest.mark.parametrize("second", ["protocol", "checkpoint"])
def test_what_is_missing_for_the_second_result_shows_before_the_first_is_computed(tmp_path, second):
    def open_source(config, *_):
        if config.data.datasets[0].name == "rich":
            raise FileNotFoundError("There is no data set rich.")
        return lambda step: pytest.fail("computed")

    one = model_for(tmp_path / "model", "synthetic_people")
    checkpoints, protocols = ([one], ["synthetic", "rich-24-hips"]) if second == "protocol" else (
        [one, tmp_path / "none"], ["synthetic"],
    )  # fmt: skip
    with pytest.raises(FileNotFoundError, match="no data set rich" if second == "protocol" else "no checkpoint"):
        run(tmp_path, checkpoints, protocols, open_source)


@pytest.mark.parametrize("named", ["model", SHIPPED_MODEL])
def test_results_of_the_shipped_model_are_not_written_into_the_package(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    source = tiny.source(8, end=1)
    config, _ = commands.load_for_inference(SHIPPED_MODEL)
    before = sorted(SHIPPED_MODEL.iterdir())

    def small(step):
        for batch in source(step):
            side = config.data.crop_size
            yield batch | {"image": np.zeros((8, side, side, 3), np.uint8)}

    chosen = dataclasses.replace(settings("synthetic", None), batch_size=8)
    paths = [commands.Path(named)]
    (outcome,) = commands.run(paths, [], [], chosen, lambda *_: small)
    assert outcome.path.resolve() == tmp_path / f"{SHIPPED_MODEL.name}_synthetic.json"
    assert outcome.path.is_file()
    assert sorted(SHIPPED_MODEL.iterdir()) == before
