"""Bad records are replaced and reported; data sets that cannot be read are refused in one sentence."""

import logging
import shutil
import sys

import numpy as np
import pytest
from dots import CROP, person, reading, take, with_data

from data_pipelines.loading.examples import ExampleMaker
from data_pipelines.records import reader
from data_pipelines.sources import make_source
from hmr_jax.config import AugmentConfig, DatasetConfig


@pytest.fixture
def config(dots_dir):
    return reading(dots_dir)


class Rows(list):
    """Records in memory, standing in for a reader."""

    name, split = "rows", "train"


def in_order(numbers):
    return np.zeros_like(numbers), numbers


def test_a_bad_record_is_replaced_by_the_next_and_reported(caplog):
    rows = Rows(person(str(i)) for i in range(6))
    rows[2] = rows[2] | {"image/encoded": rows[2]["image/encoded"][:200]}
    rows[3] = rows[3] | {"image/encoded": b"no image"}
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
    rows[0] = rows[0] | {"mask/encoded": b"no image"}
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
    def bad(self, index):
        raise reader.BadRecord("it is empty")

    source = make_source(config, "train")
    monkeypatch.setattr(reader.RecordReader, "__getitem__", bad)
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


def test_bodies_are_not_mixed(config, dots_dir):
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


def test_a_truncated_file_is_refused(config, dots_dir, tmp_path):
    shutil.copytree(dots_dir / "dots", tmp_path / "dots")
    (file,) = (tmp_path / "dots").rglob("*train.array_record*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"train\.array_record.* is truncated or missing"):
        make_source(with_data(config, directory=str(tmp_path), datasets=(DatasetConfig("dots"),)), "train")


def test_synthetic_batches_need_no_tensorflow(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert callable(make_source(with_data(config, source="synthetic", crop_size=64), "train"))
    with pytest.raises(ImportError, match="Reading records needs TensorFlow"):
        make_source(config, "train")
