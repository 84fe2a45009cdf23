"""Synthetic people as batches, made on the fly while the model trains; needs no TensorFlow and no files.

Letters: B batch, S side of the crop, D side of the dense targets.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from data_pipelines.pseudo_depth import pseudo_depth
from data_pipelines.synthetic.people import STILL, SyntheticPeople
from hmr_jax.batch import Batch, BatchSource
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import Config

SPLITS = ("train", "validation", "test")
PREFETCH = 3  # batches made ahead
EVALUATION_EXAMPLES = 1000  # of a split that is not for training, unless said otherwise


def synthetic_source(
    config: Config,
    split: Literal["train", "validation", "test"],
    examples: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> BatchSource:
    """Batches of synthetic people as a function of the step.

    Batch s holds the examples s B .. (s + 1) B - 1 of the split; each split has a stream of its own. Training crops are
    jittered as `config.data.augment` says; those of the other splits show the whole person, upright and centred.

    Args:
        config: `seed`, `batch_size`, `model.body` and `data` are read.
        split: which stream.
        examples: where it ends, the last batch padded with `valid` 0; None: training never ends, the other splits after
            `EVALUATION_EXAMPLES`.
        shard: (k, n) makes the k-th of n equal parts of every batch, for the k-th of n hosts.

    Raises:
        ValueError: a batch that n hosts cannot share, or dense targets that the crop cannot be sampled to.
    """
    part, parts = shard
    if config.batch_size % parts:
        raise ValueError(f"batch_size {config.batch_size} cannot be shared by {parts} hosts; make it a multiple.")
    if config.data.dense and config.data.crop_size % config.data.dense_size:
        raise ValueError(
            f"dense_size {config.data.dense_size} must divide crop_size {config.data.crop_size} for synthetic data."
        )
    training = split == "train"
    end = EVALUATION_EXAMPLES if examples is None and not training else examples
    rows = np.arange(config.batch_size // parts) + part * (config.batch_size // parts)

    def batches(step: int) -> Iterator[Batch]:
        people = SyntheticPeople(
            load_body_model(config.model.body),
            size=config.data.crop_size,
            seed=len(SPLITS) * config.seed + SPLITS.index(split),
            augment=config.data.augment if training else STILL,
            workers=config.data.workers,
        )

        def make() -> Iterator[Batch]:
            number = step
            while end is None or number * config.batch_size < end:
                yield make_batch(people, number * config.batch_size + rows, config, end, training)
                number += 1

        return _Prefetch(make(), people.close)

    return batches


def make_batch(
    people: SyntheticPeople, index: np.ndarray, config: Config, examples: int | None = None, training: bool = True
) -> Batch:
    """The batch of these example numbers; numbers from `examples` on are padding."""
    valid = np.ones(len(index), bool) if examples is None else index < examples
    drawn = people.batch(np.where(valid, index, index[0]))
    size, one = people.size, np.ones(len(index), np.float32)
    keypoints = drawn["keypoints_2d"].copy()
    keypoints[..., :2] = (keypoints[..., :2] - 0.5) / size - 0.5  # crops count from the first pixel's centre (HMR2.0)
    batch = {
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


class _Prefetch(Iterator[Batch]):
    """Runs an iterator in a thread, a few batches ahead; errors surface where the batch would have."""

    def __init__(self, batches: Iterator[Batch], finish: Callable[[], None]):
        self._queue: queue.Queue = queue.Queue(PREFETCH)
        self._stop = threading.Event()
        # The thread must not refer to self, or an abandoned iterator would never be collected.
        self._thread = threading.Thread(target=_fill, args=(batches, self._queue, self._stop, finish), daemon=True)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._stop.is_set():
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._stop.set()
            raise item
        return item

    def close(self) -> None:
        """Stops making batches and ends the threads."""
        self._stop.set()
        self._thread.join()

    def __del__(self):
        self._stop.set()


def _fill(batches: Iterator[Batch], ready: queue.Queue, stop: threading.Event, finish: Callable) -> None:
    def put(item) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    try:
        for batch in batches:
            put(batch)
            if stop.is_set():
                break
        put(StopIteration())
    except Exception as error:
        put(error)
    finally:
        finish()
