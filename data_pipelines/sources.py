"""The source of a run's batches: the one function that training and evaluation call.

Importing this module imports neither TensorFlow nor the generator of synthetic people.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from data_pipelines.loading.index_stream import IndexStream, InOrder, batch_numbers
from hmr_jax.batch import Batch, BatchSource
from hmr_jax.config import Config, DatasetConfig, training_mixture
from hmr_jax.config.checks import check_types

if TYPE_CHECKING:
    from data_pipelines.records.reader import RecordReader

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "all")


def make_source(
    config: Config,
    split: Split,
    *,
    topology: str | None = None,
    examples: int | None = None,
    process_index: int | None = None,
    process_count: int | None = None,
) -> BatchSource:
    """Batches of a split as a function of the step.

    The training split is an endless, shuffled, augmented mixture of `config.data.datasets`. The other splits come in
    order and unchanged, one data set after another; their last batch is padded with examples of valid = 0. "all" is all
    splits one after another, in the same way. All hosts get the same number of batches, and of each a contiguous slice.

    Args:
        config: `data`, `seed` and `batch_size` are read.
        split: "train", "validation", "test" or "all".
        topology: of the body model that the data must fit; None: that of `config.model.body`.
        examples: number after which the stream ends; None: all of an evaluation split, an endless training stream.
        process_index: which host this is; None: JAX's.
        process_count: how many hosts there are; None: JAX's.

    Raises:
        FileNotFoundError: a data set has not been built.
        ValueError: the split is unknown, the mixture is empty or no tuple, topologies do not fit, or dense targets are
            not there.
    """
    check_types(config.data, "data")
    if split not in SPLITS:
        raise ValueError(f"There is no split '{split}': use {', '.join(SPLITS)}.")
    if process_index is None or process_count is None:
        import jax

        process_index, process_count = jax.process_index(), jax.process_count()
    if config.data.source == "synthetic":
        from data_pipelines.synthetic.source import synthetic_source

        if split == "all":
            raise ValueError("Synthetic people on the fly have no split 'all': use train, validation or test.")

        source: BatchSource = synthetic_source(config, split, examples=examples, shard=(process_index, process_count))
    else:
        if topology is None:
            from hmr_jax.body import find_body

            topology = find_body(config.model.body, config.model.body_content).topology
        source = RecordSource(config, split, topology, examples, process_index, process_count)
    return _with_natural_bodies(config, source) if split == "train" and config.loss.adversarial else source


def _with_natural_bodies(config: Config, source: BatchSource) -> BatchSource:
    """For `loss.adversarial`, see there."""
    from data_pipelines.loading.natural_bodies import MotionCapture, with_natural_bodies

    if config.data.motion:
        return with_natural_bodies(source, MotionCapture(config.data.motion, config.seed))
    from data_pipelines.synthetic.poses import NaturalPoses
    from hmr_jax.body import find_body

    body = find_body(config.model.body, config.model.body_content)
    return with_natural_bodies(source, NaturalPoses(body, config.seed))


class RecordSource:
    """Batches from TFDS data sets on disk; see `make_source`."""

    def __init__(
        self,
        config: Config,
        split: Split,
        topology: str,
        examples: int | None,
        process_index: int,
        process_count: int,
    ):
        """Opens the data sets."""
        from data_pipelines.loading.examples import ExampleMaker

        data, training = config.data, split == "train"
        if "parts" in data.dense:
            raise ValueError(
                "Records hold no body parts: use --data.source synthetic, or leave 'parts' out of data.dense."
            )
        if not data.datasets:
            raise ValueError("data.datasets is empty: name at least one data set.")
        batch_numbers(0, config.batch_size, process_index, process_count)  # a batch that cannot be shared fails now
        mixture = training_mixture(data)
        readers = _open(data.directory, mixture if training else data.evaluation or mixture, split)
        _check_topology(readers, topology)
        sizes = tuple(len(reader) for reader in readers)
        if training:
            locate: IndexStream | InOrder = IndexStream(
                sizes, tuple(dataset.weight for dataset in mixture), config.seed
            )
        else:
            examples = min(examples or sum(sizes), sum(sizes))
            locate = InOrder(sizes)
        self._make = ExampleMaker(
            readers,
            locate,
            data.crop_size,
            dense=data.dense,
            dense_size=data.dense_size,
            augmentation=data.augment if training else None,
            seed=config.seed,
            examples=examples,
            depth_corruption=data.depth_corruption if data.pseudo_depth else None,
            stored_size=data.stored_size if data.warp == "device" else 0,
        )
        self._config, self._process = config, (process_index, process_count)
        self.examples = examples
        """Number of examples; None: endless."""

    @property
    def skipped(self) -> int:
        """Records so far that could not be used and were replaced."""
        return self._make.skipped

    def keys(self, numbers: np.ndarray) -> list[str]:
        """Keys of the records behind the example numbers of batches that this host has made."""
        return [self._make.keys[int(number)] for number in numbers]

    def __call__(self, step: int) -> Iterator[Batch]:
        """The batches from `step` on; nothing before is computed."""
        from data_pipelines.loading.pipeline import batches

        batch_size = self._config.batch_size
        last = None if self.examples is None else -(-self.examples // batch_size)
        return batches(self._make, batch_size, step, last, *self._process, workers=self._config.data.workers)


def _open(directory: str, datasets: Sequence[DatasetConfig], split: Split) -> list["RecordReader"]:
    """A reader of each data set; for evaluation, of each that has the split."""
    from data_pipelines.records.reader import MissingSplit, RecordReader

    readers, missing = [], []
    for dataset in datasets:
        for part in SPLITS[:3] if split == "all" else (split,):
            try:
                readers.append(RecordReader(directory, dataset.name, part))
            except MissingSplit as error:
                missing.append(error)
    if missing and (split == "train" or not readers):
        if split == "validation":
            raise MissingSplit(
                f"{missing[0]} Train with --eval-every 0, or name data sets to evaluate on as data.evaluation."
            )
        raise missing[0]
    return readers


def _check_topology(readers: list["RecordReader"], wanted: str) -> None:
    """Refuses data of another body; a data set without body parameters (topology "") fits any body."""
    for reader in readers:
        if reader.topology and reader.topology != wanted:
            raise ValueError(
                f"Data set '{reader.name}' has poses of a '{reader.topology}' body, but the model's body is "
                f"'{wanted}': choose another data set or set model.body."
            )
