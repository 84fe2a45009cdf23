"""Synthetic people as batches, made on the fly while the model trains; needs no TensorFlow and no files."""

import functools
import itertools
from collections.abc import Generator, Iterable
from typing import Literal

import numpy as np

from data_pipelines.loading.background import BatchStream, Prefetch, in_processes
from data_pipelines.loading.echoing import echoed
from data_pipelines.loading.index_stream import batch_numbers
from data_pipelines.loading.pseudo_depth import pseudo_depth
from data_pipelines.random_streams import split_seed
from data_pipelines.synthetic.people import STILL, SyntheticPeople
from hmr_jax.batch import Batch, BatchSource
from hmr_jax.body import find_body
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import Config

EVALUATION_EXAMPLES = 1000  # of a split that is not for training, unless said otherwise
ECHO_POOL = 8192  # people kept to be shown again


def synthetic_source(
    config: Config,
    split: Literal["train", "validation", "test"],
    examples: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> BatchSource:
    """Batches of synthetic people as a function of the step.

    Batch s of size B holds the examples s B to (s + 1) B - 1 of the split; each split has a stream of its own. Training
    crops are jittered as `config.data.augment` says; those of the other splits show the whole person, upright and
    centred. With `config.data.uses` above 1 the people of training batches are shown again, see `loading.echoing`.

    Args:
        config: `seed`, `batch_size`, `model.body` and `data` are read.
        split: which stream.
        examples: where it ends, the last batch padded with `valid` 0; None: training never ends, the other splits after
            `EVALUATION_EXAMPLES`.
        shard: (k, n) for host k of n, counted from 0: it makes its slice of every batch, see `batch_numbers`.

    Raises:
        ValueError: n hosts cannot share a batch, or the crop cannot be sampled to the size of the dense targets.
    """
    batch_numbers(0, config.batch_size, *shard)  # a batch that cannot be shared fails now
    if config.data.dense and config.data.crop_size % config.data.dense_size:
        raise ValueError(
            f"dense_size {config.data.dense_size} must divide crop_size {config.data.crop_size} for synthetic data."
        )
    training = split == "train"
    end = EVALUATION_EXAMPLES if examples is None and not training else examples
    make = functools.partial(_BatchMaker, config, split, shard, end)
    uses = config.data.uses if training else 1
    pool = max(1, ECHO_POOL // config.batch_size)

    def fresh(first: int) -> Generator[Batch, None, None]:
        numbers = itertools.count(first) if end is None else range(first, -(-end // config.batch_size))
        if training and config.data.processes:
            return in_processes(functools.partial(make, workers=1), numbers, config.data.processes)
        return _one_by_one(make(workers=config.data.workers), numbers)

    def batches(step: int) -> BatchStream:
        if uses == 1:
            return Prefetch(fresh(step))
        first = step // (uses * pool) * pool
        # One pool is shown again while the next is made.
        return Prefetch(echoed(Prefetch(fresh(first), ahead=pool), step, uses, pool, config.seed))

    return batches


class _BatchMaker:
    """Makes the batches of a split by their numbers."""

    def __init__(self, config: Config, split: str, shard: tuple[int, int], end: int | None, workers: int):
        self._config, self._shard, self._end, self._training = config, shard, end, split == "train"
        self.people = SyntheticPeople(
            find_body(config.model.body, config.model.body_content),
            size=config.data.crop_size,
            seed=split_seed(config.seed, split),
            augment=config.data.augment if self._training else STILL,
            workers=workers,
        )

    def __call__(self, number: int) -> Batch:
        index = batch_numbers(number, self._config.batch_size, *self._shard)
        return make_batch(self.people, index, self._config, self._end, self._training)


def _one_by_one(make: _BatchMaker, numbers: Iterable[int]) -> Generator[Batch, None, None]:
    try:
        yield from map(make, numbers)
    finally:
        make.people.close()


def make_batch(
    people: SyntheticPeople, index: np.ndarray, config: Config, examples: int | None = None, training: bool = True
) -> Batch:
    """The batch of these example numbers, (B,); numbers from `examples` on are padding."""
    valid = np.ones(len(index), bool) if examples is None else index < examples
    drawn = people.batch(np.where(valid, index, index[0]))
    size, one = people.size, np.ones(len(index), np.float32)
    keypoints = drawn["keypoints_2d"].copy()
    keypoints[..., :2] = (keypoints[..., :2] - 0.5) / size - 0.5  # crops count from the first pixel's centre (HMR2.0)
    batch: dict[str, np.ndarray] = {
        "image": drawn["image"],
        "keypoints_2d": keypoints,
        "keypoints_3d": drawn["keypoints_3d"],
        "pose": drawn["pose"],
        "betas": drawn["betas"],
        "has_pose": one,
        "has_betas": one,
        "valid": valid.astype(np.float32),
        "index": index.astype(np.int64),
    }
    stride = size // config.data.dense_size
    cells = slice(stride // 2, None, stride)
    for name in config.data.dense:
        batch[name] = np.ascontiguousarray(drawn[name][:, cells, cells])
        batch[f"has_{name}"] = one
    if "depth" in batch:
        pelvis = drawn["keypoints_3d"][:, PELVIS_44, 2][:, None, None]
        batch["depth"] = np.where(batch["depth"] > 0, batch["depth"] - pelvis, 0).astype(np.float32)
    if config.data.pseudo_depth:
        corruption = config.data.depth_corruption
        kinds = ["metric"] * len(index)
        batch |= pseudo_depth(list(drawn["depth"]), kinds, size, corruption, people.seed, index, training)
    return batch
