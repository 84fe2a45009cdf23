"""Crops cut on the device are those that the host cuts."""

import dataclasses

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from hmr_jax import batch as contract
from hmr_jax import distributed
from hmr_jax.config import AugmentConfig, Config, DataConfig, DatasetConfig, MeshConfig
from hmr_jax.ops import warp_images


def test_warps_equal_the_hosts_kernel():
    from data_pipelines.loading import crops

    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (4, 48, 48, 3), np.uint8)
    angle, scale = rng.uniform(-1, 1, 4), rng.uniform(0.4, 2, 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    affine = np.concatenate([turn * scale[:, None, None], rng.uniform(-10, 25, (4, 2, 1))], 2)
    gain = rng.uniform(0.8, 1.2, (4, 3))
    host = np.empty((4, 32, 32, 3), np.uint8)
    for i, table in enumerate(crops.gain_table(gain)):
        crops.warp(stored[i], affine[i], table, host[i])
    device = np.asarray(jax.jit(warp_images, static_argnames="size")(stored, affine, gain, size=32))
    assert device.dtype == np.uint8
    difference = np.abs(device.astype(int) - host)
    assert difference.max() <= 3  # weights rounded to 1/256, of noise
    assert difference.mean() < 0.4
    assert (host == 0).all(-1).any()  # some of it is outside


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    from data_pipelines.build import build

    directory = tmp_path_factory.mktemp("warp")
    build("synthetic_people", directory, examples={"train": 16}, size=64, depth=False)
    data = DataConfig(
        directory=str(directory), datasets=(DatasetConfig("synthetic_people"),), crop_size=48, stored_size=80,
        augment=AugmentConfig(extreme_crop_probability=0.0),
    )  # fmt: skip
    return Config(batch_size=8, data=data)


def first_batch(config, **changes):
    from data_pipelines.sources import make_source

    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
    return next(make_source(changed, "train", process_index=0, process_count=1)(0))


def test_batches_are_equal_whoever_cuts_the_crops(config, every_device):
    mesh = distributed.make_mesh(MeshConfig())
    host, shipped = first_batch(config), first_batch(config, warp="device")
    contract.check(shipped)
    assert "image" not in shipped
    assert shipped["stored"].shape == (8, 80, 80, 3)
    on_device = distributed.to_global(shipped, mesh)
    assert on_device.keys() == host.keys()
    for name, expected in host.items():
        if name == "image":
            difference = np.abs(np.asarray(on_device[name]).astype(int) - expected)
            assert difference.max() <= 3
            assert difference.mean() < 0.4
            assert on_device[name].sharding.is_equivalent_to(distributed.batch_sharding(mesh), 4)
        else:
            np.testing.assert_array_equal(on_device[name], expected)


def test_images_larger_than_the_padding_are_refused(config):
    with pytest.raises(ValueError, match=r"64 x 64 px, but data\.stored_size is 32"):
        first_batch(config, warp="device", stored_size=32)
