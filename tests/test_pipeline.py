"""From built data sets to batches: the same for any number of hosts and after any restart."""

import dataclasses
import hashlib

import numpy as np
import pytest
from dots import CROP, SIDE, reading, take, with_data

from data_pipelines.loading import crops
from data_pipelines.sources import make_source
from hmr_jax import batch as contract
from hmr_jax.body.joints import PELVIS_44


@pytest.fixture
def config(dots_dir):
    return reading(dots_dir)


def checksum(batch):
    return {name: hashlib.sha1(np.ascontiguousarray(array)).hexdigest() for name, array in batch.items()}


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
    points = crops.to_crop(image[..., :2] / image[..., 2:], batch["box_center"], batch["box_size"])
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
