"""Building data sets: what is kept, what is dropped and why, and nothing half written."""

import json

import numpy as np
import pytest
from dots import Dots, tfds

from data_pipelines.build import build, main
from data_pipelines.sources import make_source
from hmr_jax import cli
from hmr_jax.config import Config, DataConfig


def test_a_build_drops_bad_rows_and_says_why(dots_dir):
    folder = dots_dir / "dots" / "1.0.0"
    report = json.loads((folder / "build_report.json").read_text())
    assert report["train"] == {
        "read": 40,
        "kept": 38,
        "dropped": {"smpl/betas: not finite": 1, "no image": 1},
    }
    assert tfds.builder_from_directory(folder).info.splits["train"].num_examples == 38


def test_a_build_leaves_nothing_unfinished_behind(dots_dir, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Dots, "_generate_examples", fail)
    before = sorted(dots_dir.rglob("*"))
    with pytest.raises(RuntimeError, match="disk is full"):
        build("dots", dots_dir, overwrite=True)
    assert sorted(dots_dir.rglob("*")) == before


def test_a_data_set_is_overwritten_only_on_demand(dots_dir, tmp_path):
    build("dots", tmp_path, examples={"train": 6})
    with pytest.raises(FileExistsError, match="add --overwrite"):
        build("dots", tmp_path, examples={"train": 7})
    assert build("dots", tmp_path, overwrite=True, examples={"train": 7})["train"]["kept"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["dots"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synthetic_peple"], "No builder for a data set 'synthetic_peple'. Did you mean synthetic_people"),
        (["synthetic_people", "--option", "sise=3"], "'synthetic_people' has no option 'sise'; it has examples, size"),
        (["synthetic_people", "--examples", "tarin=3"], "no split 'tarin': use train"),
        (["synthetic_people", "--examples", "train"], "'train' is not of the form NAME=VALUE"),
    ],
)
def test_the_command_line_names_what_it_does_not_know(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        cli.run(main, "build", arguments)
    assert message in capsys.readouterr().err


def test_options_are_given_together_or_one_by_one(monkeypatch):
    given = {}
    monkeypatch.setattr("data_pipelines.build.build", lambda *_, **options: given.update(options))
    together = ["dots", "--option", "a=1", "b=word", "--option", "c=true", "--examples", "train=3", "test=4"]
    cli.run(main, "build", together)
    assert given == {"a": 1, "b": "word", "c": True, "examples": {"train": 3, "test": 4}}


def test_synthetic_people_become_records(tmp_path, monkeypatch):
    """With a stand-in for the generator, which has tests of its own."""

    class People:
        def __init__(self, body, size, seed, margin):
            self.seed = seed

        def batch(self, indices):
            keypoints_3d = np.ones((len(indices), 44, 4)) * [0, 0, 3, 1]
            return {
                "image": np.zeros((len(indices), 16, 16, 3), np.uint8),
                "mask": np.ones((len(indices), 16, 16), np.uint8),
                "depth": np.full((len(indices), 16, 16), 3.0),
                "keypoints_2d": np.ones((len(indices), 44, 3)) * [8.5, 8.5, 1],
                "keypoints_3d": keypoints_3d,
                "pose": np.zeros((len(indices), 24, 3)),
                "betas": np.full((len(indices), 10), self.seed),
                "translation": np.tile([0.0, 0.0, 3.0], (len(indices), 1)),
                "intrinsics": np.tile(np.array([[9, 0, 8.5], [0, 9, 8.5], [0, 0, 1]]), (len(indices), 1, 1)),
                "box_center": np.full((len(indices), 2), 8.5),
                "box_size": np.full(len(indices), 10.0),
            }

        def close(self):
            pass

    import data_pipelines.synthetic.people as generator

    monkeypatch.setattr(generator, "SyntheticPeople", People)
    report = build("synthetic_people", tmp_path, examples={"train": 130, "validation": 3}, seed=2)
    assert [counts["kept"] for counts in report.values()] == [130, 3]
    data = DataConfig(directory=str(tmp_path), crop_size=16)
    config = Config(batch_size=3, data=data)
    (batch,) = make_source(config, "validation")(0)
    assert (batch["betas"] == 7).all()  # a seed of its own: 3 * 2 + 1
    np.testing.assert_array_equal(batch["box_center"], 8)  # from corners to centres of pixels
    np.testing.assert_array_equal(batch["intrinsics"][:, :2, 2], 8)
    np.testing.assert_array_equal(batch["keypoints_2d"][..., :2], 0)
