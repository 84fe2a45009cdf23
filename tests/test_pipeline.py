"""From built data sets to batches: the same for any number of hosts, after any restart, and whatever breaks."""

import dataclasses
import hashlib
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import crop, records
from data_pipelines.builders import BUILDERS
from data_pipelines.builders.report import Report
from data_pipelines.examples import ExampleMaker
from data_pipelines.sources import make_source
from hmr_jax import batch as contract
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import AugmentConfig, Config, DataConfig, DatasetConfig

tfds = pytest.importorskip("tensorflow_datasets")
SIDE, CROP = 64, 32


def person(key, topology="hmr-default", seed=0, dataset="dots"):
    """A record of noise, with 2-D keypoints that are its projected 3-D ones and a ball for a body."""
    rng = np.random.default_rng([seed, *key.encode()])
    solid = np.concatenate([rng.uniform(-0.3, 0.3, (44, 2)), rng.uniform(2.8, 3.2, (44, 1)), np.ones((44, 1))], 1)
    intrinsics = np.array([[200.0, 0, 30], [0, 200, 33], [0, 0, 1]])
    points = solid[:, :3] @ intrinsics.T
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - 32) ** 2 + (columns - 32) ** 2 < 15**2
    return records.encode(
        rng.integers(0, 255, (SIDE // 4, SIDE // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1),
        key=key,
        dataset=dataset,
        box_center=[32, 32],
        box_size=40,
        keypoints_2d=np.concatenate([points[:, :2] / points[:, 2:], np.ones((44, 1))], 1),
        keypoints_3d=solid,
        pose=rng.normal(0, 0.3, (24, 3)),
        betas=rng.normal(0, 1, 10),
        translation=[0, 0, 3],
        topology=topology,
        intrinsics=intrinsics,
        mask=mask,
        depth=np.where(mask, 3.0, 0),
    )


class Dots(tfds.core.GeneratorBasedBuilder):
    """A tiny data set; some rows can be bad."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent

    def __init__(self, *, examples=None, topology="hmr-default", broken=False, **kwargs):
        self.examples = examples or {"train": 40, "validation": 21}
        self.topology, self.broken, self.report = topology, broken, Report()
        super().__init__(**kwargs)

    def _info(self):
        return self.dataset_info_from_configs(features=records.features())

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in self.examples.items()}

    def _generate_examples(self, split, count):
        rows = [person(f"{split}-{i}", self.topology) for i in range(count)]
        if self.broken:
            rows[3]["smpl/betas"][0] = np.nan
            rows[5] = "no picture"
        yield from self.report.keep(split, rows)


class MoreDots(Dots):
    """Another data set."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    from data_pipelines.build import build

    BUILDERS.update(dots=f"{__name__}:Dots", more_dots=f"{__name__}:MoreDots")
    directory = tmp_path_factory.mktemp("data")
    build("dots", directory, broken=True)
    build("more_dots", directory, examples={"train": 30})
    build("more_dots", directory / "smpl", examples={"train": 6}, topology="smpl")
    yield directory
    del BUILDERS["dots"], BUILDERS["more_dots"]


@pytest.fixture
def config(data_dir):
    datasets = (DatasetConfig("dots", 0.7), DatasetConfig("more_dots", 0.3))
    data = DataConfig(
        directory=str(data_dir), datasets=datasets, crop_size=CROP, dense=("mask", "depth"), dense_size=8, workers=2
    )
    return Config(batch_size=24, seed=3, data=data)


def with_data(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def take(source, count, step=0):
    batches = source(step)
    return [next(batches) for _ in range(count)]


def checksum(batch):
    return {name: hashlib.sha1(np.ascontiguousarray(array)).hexdigest() for name, array in batch.items()}


# Building


def test_a_build_drops_bad_rows_and_says_why(data_dir):
    folder = data_dir / "dots" / "1.0.0"
    report = json.loads((folder / "build_report.json").read_text())
    assert report["train"] == {
        "read": 40,
        "kept": 38,
        "dropped": {"smpl/betas: not finite": 1, "no picture": 1},
    }
    assert tfds.builder_from_directory(folder).info.splits["train"].num_examples == 38


def test_a_build_leaves_nothing_unfinished_behind(data_dir, monkeypatch):
    from data_pipelines.build import build

    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Dots, "_generate_examples", fail)
    before = sorted(data_dir.rglob("*"))
    with pytest.raises(RuntimeError, match="disk is full"):
        build("dots", data_dir, overwrite=True)
    assert sorted(data_dir.rglob("*")) == before


def test_a_data_set_is_overwritten_only_on_demand(data_dir, tmp_path):
    from data_pipelines.build import build

    build("dots", tmp_path, examples={"train": 6})
    with pytest.raises(FileExistsError, match="add --overwrite"):
        build("dots", tmp_path, examples={"train": 7})
    assert build("dots", tmp_path, overwrite=True, examples={"train": 7})["train"]["kept"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["dots"]


def test_the_command_line_names_what_it_does_not_know(capsys):
    from data_pipelines.build import main

    with pytest.raises(
        SystemExit, match=r"No builder for a data set 'synthetic_peple'\. Did you mean synthetic_people"
    ):
        main(["synthetic_peple"])
    with pytest.raises(SystemExit, match="'synthetic_people' has no option 'sise'; it has examples, size"):
        main(["synthetic_people", "--option", "sise=3"])
    with pytest.raises(SystemExit, match="no split 'tarin': use train"):
        main(["synthetic_people", "--examples", "tarin=3"])


def test_synthetic_people_become_records(tmp_path, monkeypatch):
    """With a stand-in for the generator, which has tests of its own."""
    from data_pipelines.build import build

    class People:
        def __init__(self, body, size, seed, margin):
            self.seed = seed

        def batch(self, indices):
            solid = np.ones((len(indices), 44, 4)) * [0, 0, 3, 1]
            return {
                "image": np.zeros((len(indices), 16, 16, 3), np.uint8),
                "mask": np.ones((len(indices), 16, 16), np.uint8),
                "depth": np.full((len(indices), 16, 16), 3.0),
                "keypoints_2d": np.ones((len(indices), 44, 3)) * [8.5, 8.5, 1],
                "keypoints_3d": solid,
                "pose": np.zeros((len(indices), 24, 3)),
                "betas": np.full((len(indices), 10), self.seed),
                "translation": np.ones((len(indices), 3)),
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


# Training


def test_batches_keep_the_contract(config):
    source = make_source(config, "train", topology="hmr-default")
    for batch in take(source, 2):
        contract.check(batch)
        assert batch["image"].shape == (24, CROP, CROP, 3)
        assert batch["depth"].shape == (24, 8, 8)
        assert batch["valid"].all()
    assert source.skipped == 0


def test_pseudo_depth_rides_in_the_batch_when_asked_for(config):
    asked = dataclasses.replace(config, data=dataclasses.replace(config.data, pseudo_depth=True))
    for split in ("train", "validation"):
        batch, plain = next(make_source(asked, split)(0)), next(make_source(config, split)(0))
        contract.check(batch)
        assert set(batch) - set(plain) == {"pseudo_depth", "has_pseudo_depth"}
        assert batch["pseudo_depth"].shape == (24, CROP, CROP)
        has = batch["has_pseudo_depth"][batch["valid"] > 0]
        assert has.mean() > 0.5  # the flat depth of these records is one only with a background
        np.testing.assert_array_equal(batch["image"], plain["image"])


def test_labels_agree_with_one_another_after_augmentation(config):
    (batch,) = take(make_source(config, "train"), 1)
    image = batch["keypoints_3d"][..., :3] @ batch["intrinsics"].transpose(0, 2, 1)
    points = crop.to_crop(image[..., :2] / image[..., 2:], batch["box_center"], batch["box_size"])
    np.testing.assert_allclose(points, batch["keypoints_2d"][..., :2], atol=1e-4)
    person = batch["mask"] > 0
    assert 0.02 < person.mean() < 0.8
    pelvis = batch["keypoints_3d"][:, PELVIS_44, 2][:, None, None]
    np.testing.assert_allclose(batch["depth"], np.where(person, 3 - pelvis, 0), atol=2e-3)


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_see_what_one_host_sees(config, hosts):
    whole = take(make_source(config, "train", process_index=0, process_count=1), 3)
    parts = [take(make_source(config, "train", process_index=host, process_count=hosts), 3) for host in range(hosts)]
    for step, batch in enumerate(whole):
        joined = {name: np.concatenate([part[step][name] for part in parts]) for name in batch}
        assert checksum(joined) == checksum(batch)


def test_a_restart_continues_exactly(config):
    source = make_source(config, "train")
    straight = take(source, 5)
    resumed = take(make_source(with_data(config, workers=1), "train"), 2, step=3)
    assert [checksum(batch) for batch in resumed] == [checksum(batch) for batch in straight[3:]]
    other = take(make_source(dataclasses.replace(config, seed=4), "train"), 1)
    assert checksum(other[0])["image"] != checksum(straight[0])["image"]


def test_a_far_step_costs_no_more_than_the_first(config):
    (batch,) = take(make_source(config, "train"), 1, step=10**9)
    assert batch["index"][0] == 24 * 10**9


# Evaluation


def test_evaluation_is_in_order_unchanged_and_padded(config):
    config = dataclasses.replace(config, batch_size=8)
    batches = list(make_source(config, "validation")(0))  # more_dots has no such split and is left out
    assert [batch["valid"].sum() for batch in batches] == [8, 8, 3]
    assert all(len(batch["image"]) == 8 for batch in batches)
    np.testing.assert_array_equal(np.concatenate([batch["index"] for batch in batches]), np.arange(24))
    betas = np.concatenate([batch["betas"] for batch in batches])[:19]
    assert len(np.unique(betas[:, 0])) == 19
    assert (batches[0]["box_center"] == 32).all()
    assert (batches[0]["box_size"] == 40).all()
    assert (batches[0]["image_size"] == SIDE).all()


def test_hosts_get_the_same_number_of_evaluation_batches(config):
    config = dataclasses.replace(config, batch_size=8)
    for examples, expected in ((17, 3), (2, 1), (None, 3)):
        lengths = [
            len(list(make_source(config, "validation", examples=examples, process_index=h, process_count=4)(0)))
            for h in range(4)
        ]
        assert lengths == [expected] * 4


def test_evaluation_can_stop_early_and_start_late(config):
    source = make_source(dataclasses.replace(config, batch_size=8), "validation", examples=10)
    assert [int(batch["valid"].sum()) for batch in source(0)] == [8, 2]
    assert [int(batch["valid"].sum()) for batch in source(1)] == [2]


# What can go wrong


class Rows(list):
    """Records in memory, standing in for a reader."""

    name, split = "rows", "train"


def test_an_evaluation_knows_the_key_of_each_example_on_the_host_that_read_it(config):
    validation = [f"validation-{i}" for i in range(21) if i not in (3, 5)]
    found = []
    for host in range(2):
        source = make_source(config, "validation", process_index=host, process_count=2)
        for batch in source(0):
            numbers = batch["index"][batch["valid"] > 0]
            found += zip(numbers.tolist(), source.keys(numbers), strict=True)
            assert batch["gender"].dtype == np.int32
    numbers, keys = zip(*sorted(found), strict=True)
    assert numbers == tuple(range(19))
    assert sorted(keys) == sorted(validation)
    everything = make_source(config, "all")
    assert everything.examples == 38 + 30 + 19
    keys = [key for b in everything(0) for key in everything.keys(b["index"][b["valid"] > 0])]
    assert len(keys) == 38 + 30 + 19
    assert set(validation) <= set(keys)


def in_order(numbers):
    return np.zeros_like(numbers), numbers


def test_a_bad_record_is_replaced_by_the_next_and_reported(caplog):
    rows = Rows(person(str(i)) for i in range(6))
    rows[2] = rows[2] | {"image/encoded": rows[2]["image/encoded"][:200]}
    rows[3] = rows[3] | {"image/encoded": b"no picture"}
    make = ExampleMaker([rows], in_order, CROP, augmentation=AugmentConfig())
    with caplog.at_level(logging.WARNING):
        batch = make(np.arange(6))
    np.testing.assert_array_equal(batch["betas"][[2, 3]], np.stack([rows[4]["smpl/betas"]] * 2))
    assert (batch["image"][2] != batch["image"][4]).any()  # the augmentation is still that of example 2
    assert batch["valid"].all()
    assert make.skipped == 3
    assert "Record 3 of rows/train is replaced by the next" in caplog.text
    evaluation = ExampleMaker([rows], in_order, CROP, examples=6)(np.arange(6))
    assert evaluation["valid"].tolist() == [1, 1, 0, 0, 1, 1]  # a stand-in does not count twice


def test_a_broken_mask_is_a_bad_record_only_where_masks_are_used():
    rows = Rows(person(str(i)) for i in range(2))
    rows[0] = rows[0] | {"mask/encoded": b"no picture"}
    with_masks = ExampleMaker([rows], in_order, CROP, dense=("mask",), dense_size=8)
    without = ExampleMaker([rows], in_order, CROP)
    for make, skipped in ((with_masks, 1), (without, 0)):
        make(np.arange(2))
        assert make.skipped == skipped


def test_dense_targets_that_a_record_lacks_are_marked():
    rows = Rows([person("0"), person("1") | {"mask/encoded": b"", "depth/encoded": b"", "depth/kind": "none"}])
    batch = ExampleMaker([rows], in_order, CROP, dense=("mask", "depth"), dense_size=8)(np.arange(2))
    assert batch["has_mask"].tolist() == batch["has_depth"].tolist() == [1, 0]
    assert batch["mask"][0].any()
    assert not batch["mask"][1].any()


def test_a_data_set_of_nothing_but_bad_records_ends_the_run(config, monkeypatch):
    from data_pipelines import decode

    def bad(self, index):
        raise decode.BadRecord("it is empty")

    source = make_source(config, "train")
    monkeypatch.setattr(decode.RecordReader, "__getitem__", bad)
    with pytest.raises(ValueError, match=r"100 records in a row of '.*' cannot be used"):
        take(source, 1)


def test_a_missing_data_set_is_named_with_its_neighbours_and_its_command(config):
    missing = with_data(config, datasets=(DatasetConfig("dot"),))
    with pytest.raises(FileNotFoundError, match=r"No data set 'dot'.* Did you mean dots\? .*data_pipelines.build dot "):
        make_source(missing, "train")


def test_a_missing_split_is_named(config):
    with pytest.raises(ValueError, match=r"'more_dots' has no split 'test'; it has train|'dots' has no split 'test'"):
        make_source(config, "test")
    with pytest.raises(ValueError, match="There is no split 'val': use train, validation, test"):
        make_source(config, "val")


def test_bodies_are_not_mixed(config, data_dir):
    with pytest.raises(ValueError, match="'dots' has poses of a 'hmr-default' body, but the model's body is 'smpl'"):
        make_source(config, "train", topology="smpl")
    mixed = with_data(config, datasets=(DatasetConfig("dots"), DatasetConfig("smpl/more_dots")))
    with pytest.raises(
        ValueError, match="'smpl/more_dots' has poses of a 'smpl' body, but the model's body is 'hmr-de"
    ):
        make_source(mixed, "train")


def test_targets_that_records_lack_are_refused(config):
    with pytest.raises(ValueError, match="Records hold no body parts"):
        make_source(with_data(config, dense=("parts",)), "train")


def test_a_truncated_file_is_refused(config, data_dir, tmp_path):
    import shutil

    shutil.copytree(data_dir / "dots", tmp_path / "dots")
    (file,) = (tmp_path / "dots").rglob("*train.array_record*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"train\.array_record.* is truncated or missing"):
        make_source(with_data(config, directory=str(tmp_path), datasets=(DatasetConfig("dots"),)), "train")


def test_synthetic_batches_need_no_tensorflow(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert callable(make_source(with_data(config, source="synthetic", crop_size=64), "train"))
    with pytest.raises(ImportError, match="Reading records needs TensorFlow"):
        make_source(config, "train")
