"""Tiny data sets of noise in this project's records, and a configuration that reads them."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import records
from data_pipelines.build import build
from data_pipelines.builders import BUILDERS
from data_pipelines.builders.report import Report
from hmr_jax.config import Config, DataConfig, DatasetConfig

tfds = pytest.importorskip("tensorflow_datasets")
SIDE, CROP = 64, 32


def person(key, topology="hmr-default", seed=0, dataset="dots"):
    """A record of noise, with 2-D keypoints that are its projected 3-D ones and a ball for a body."""
    rng = np.random.default_rng([seed, *key.encode()])
    keypoints = np.concatenate([rng.uniform(-0.3, 0.3, (44, 2)), rng.uniform(2.8, 3.2, (44, 1)), np.ones((44, 1))], 1)
    intrinsics = np.array([[200.0, 0, 30], [0, 200, 33], [0, 0, 1]])
    points = keypoints[:, :3] @ intrinsics.T
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - 32) ** 2 + (columns - 32) ** 2 < 15**2
    return records.encode(
        rng.integers(0, 255, (SIDE // 4, SIDE // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1),
        key=key,
        dataset=dataset,
        box_center=[32, 32],
        box_size=40,
        keypoints_2d=np.concatenate([points[:, :2] / points[:, 2:], np.ones((44, 1))], 1),
        keypoints_3d=keypoints,
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
            rows[5] = "no image"
        yield from self.report.keep(split, rows)


class MoreDots(Dots):
    """Another data set."""


@contextlib.contextmanager
def built(directory):
    """The directory with data sets in it, whose builders are known meanwhile."""
    BUILDERS.update(dots=f"{__name__}:Dots", more_dots=f"{__name__}:MoreDots")
    try:
        build("dots", directory, broken=True)
        build("more_dots", directory, examples={"train": 30})
        build("more_dots", directory / "smpl", examples={"train": 6}, topology="smpl")
        yield directory
    finally:
        del BUILDERS["dots"], BUILDERS["more_dots"]


def reading(directory):
    """A configuration for both data sets."""
    datasets = (DatasetConfig("dots", 0.7), DatasetConfig("more_dots", 0.3))
    data = DataConfig(
        directory=str(directory), datasets=datasets, crop_size=CROP, dense=("mask", "depth"), dense_size=8, workers=2
    )
    return Config(batch_size=24, seed=3, data=data)


def with_data(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def take(source, count, step=0):
    batches = source(step)
    return [next(batches) for _ in range(count)]
