"""Batches from records: the tf.data pipeline.

A batch is a pure function of its step: the index stream says which records it holds, the augmentation is drawn from the
numbers of the examples, and each host makes its own slice. tf.data runs the work in parallel threads and keeps the
order; the work on a picture is NumPy, Pillow and one compiled kernel that release the interpreter lock, several times
faster here than TensorFlow's image operations.

B examples, S side of the crop, D side of the dense maps.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data_pipelines import augment, crop
from data_pipelines.decode import BadRecord, RecordReader, decode_image, import_tensorflow
from data_pipelines.index_stream import batch_numbers
from data_pipelines.records import Record, decode_depth, decode_mask
from hmr_jax.batch import OPTIONAL, REQUIRED, Batch
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import AugmentConfig

CHUNK = 16  # examples that one thread makes at a time
PATIENCE = 100  # unusable records in a row before giving up
_LOG = logging.getLogger(__name__)


class ExampleMaker:
    """Turns numbers of examples into arrays of a batch."""

    def __init__(
        self,
        readers: Sequence[RecordReader],
        locate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
        crop_size: int,
        dense: tuple[str, ...] = (),
        dense_size: int = 0,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        examples: int | None = None,
    ):
        """Wires the parts together.

        Args:
            readers: The data sets.
            locate: From numbers of examples to data sets and records in them, such as an `IndexStream`.
            crop_size: S.
            dense: Of "mask" and "depth".
            dense_size: D.
            augmentation: Its settings; None: no augmentation.
            seed: Of the augmentation.
            examples: How many there are; later numbers are padding with valid = 0. None: endless.
        """
        self.readers, self.locate, self.crop_size = readers, locate, crop_size
        self.dense, self.dense_size = dense, dense_size
        self.augmentation, self.seed, self.examples = augmentation, seed, examples
        self.skipped = 0
        """Records met so far that could not be used."""

    def __call__(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Makes the examples with these numbers, (B,)."""
        valid = np.ones(len(numbers), bool) if self.examples is None else numbers < self.examples
        places = zip(*self.locate(np.where(valid, numbers, 0)), strict=True)
        records, images, replaced = zip(*(self._usable(*place) for place in places), strict=True)
        if self.examples is not None:  # a stand-in must not count twice in an evaluation
            valid &= ~np.array(replaced)
        return {
            **self._arrays(records, images, numbers),
            "valid": valid.astype(np.float32),
            "index": numbers.astype(np.int64),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Keys of the arrays."""
        dense = tuple(prefix + name for name in self.dense for prefix in ("", "has_"))
        return (*REQUIRED, "box_center", "box_size", "image_size", "intrinsics", *dense)

    def _usable(self, dataset: int, index: int) -> tuple[Record, np.ndarray, bool]:
        """The record and its picture, or those of the next that can be used; and whether it had to be replaced."""
        reader = self.readers[dataset]
        for attempt in range(PATIENCE):
            number = (index + attempt) % len(reader)
            try:
                record = reader[number]
                return record, decode_image(record["image/encoded"]), attempt > 0
            except BadRecord as error:
                self.skipped += 1
                if self.skipped <= 10 or self.skipped % 1000 == 0:
                    _LOG.warning(
                        "Record %d of %s/%s is replaced by the next: %s. %d replaced so far.",
                        *(number, reader.name, reader.split, error, self.skipped),
                    )
        raise ValueError(
            f"{PATIENCE} records in a row of '{reader.name}' cannot be used, from number {index} on: build it again."
        )

    def _arrays(
        self, records: Sequence[Record], images: Sequence[np.ndarray], numbers: np.ndarray
    ) -> dict[str, np.ndarray]:
        def stack(name: str) -> np.ndarray:
            return np.stack([record[name] for record in records])

        change = (
            augment.draw(self.augmentation, self.seed, numbers) if self.augmentation else augment.identity(len(numbers))
        )
        pose = np.concatenate([stack("smpl/global_orient"), stack("smpl/body_pose")], 1).reshape(-1, 24, 3)
        stored = crop.Labels(
            stack("box/center"), stack("box/size"), stack("keypoints_2d"), stack("keypoints_3d"), pose,
            stack("camera/intrinsics"),
        )  # fmt: skip
        image_size = np.array([image.shape[1::-1] for image in images])
        width = image_size[:, 0]
        labels = crop.augment_labels(stored, image_size, change)
        affine = crop.crop_affine(labels.center, labels.size, change.rotation, self.crop_size)

        pixels = np.empty((len(images), self.crop_size, self.crop_size, 3), np.uint8)
        inverse, table = crop.sampling_affine(affine, width, change.flip), crop.gain_table(change.gain)
        for i, image in enumerate(images):
            crop.warp(image, inverse[i], table[i], pixels[i])
        points = labels.keypoints_2d.copy()
        points[:, :, :2] = crop.to_crop(points[:, :, :2], labels.center, labels.size)
        arrays = {
            "image": pixels,
            "keypoints_2d": points,
            "keypoints_3d": labels.keypoints_3d,
            "pose": labels.pose,
            "betas": stack("smpl/betas"),
            "has_pose": stack("smpl/has_pose"),
            "has_betas": stack("smpl/has_betas"),
            "box_center": labels.center,
            "box_size": labels.size,
            "image_size": image_size,
            "intrinsics": labels.intrinsics,
        }
        if self.dense:
            stride = self.crop_size / self.dense_size
            arrays |= self._dense(records, crop.sampling_affine(affine, width, change.flip, stride))
        return {name: array.astype(np.uint8 if name in ("image", "mask") else np.float32, copy=False)
                for name, array in arrays.items()}  # fmt: skip

    def _dense(self, records: Sequence[Record], inverse: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(records), self.dense_size, self.dense_size)
        arrays: dict[str, np.ndarray] = {}
        if "mask" in self.dense:
            arrays["mask"], arrays["has_mask"] = np.zeros(shape), np.zeros(len(records))
        if "depth" in self.dense:
            arrays["depth"], arrays["has_depth"] = np.zeros(shape), np.zeros(len(records))
        for i, record in enumerate(records):
            if "mask" in self.dense and record["mask/encoded"]:
                mask = decode_mask(record["mask/encoded"])
                arrays["mask"][i], arrays["has_mask"][i] = crop.sample_nearest(mask, inverse[i], self.dense_size), 1
            # Inverse depth has neither a scale nor an origin: the batch's metres cannot be made from it.
            if "depth" in self.dense and record["depth/kind"] == "metric":
                depth = decode_depth(record["depth/encoded"], "metric")
                depth = crop.sample_nearest(depth, inverse[i], self.dense_size)
                pelvis = record["keypoints_3d"][PELVIS_44, 2]
                arrays["depth"][i], arrays["has_depth"][i] = np.where(depth > 0, depth - pelvis, 0), 1
        return arrays


def batches(
    make: ExampleMaker,
    batch_size: int,
    first_step: int,
    last_step: int | None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """This host's slices of the global batches `first_step` .. `last_step` - 1.

    Args:
        make: Makes the examples.
        batch_size: Of the global batch.
        first_step: Where to begin; nothing before is computed.
        last_step: Where to end; None: never.
        process_index: Which host this is.
        process_count: How many hosts there are.
        workers: Threads; 0: one per core.
    """
    tf = import_tensorflow()
    failed = tf.errors.OpError
    share = len(batch_numbers(0, batch_size, process_index, process_count))
    chunks = -(-share // CHUNK)
    failure: list[Exception] = []

    def chunk(number: np.ndarray) -> list[np.ndarray]:
        step, part = divmod(int(number), chunks)
        numbers = np.array_split(batch_numbers(step, batch_size, process_index, process_count), chunks)[part]
        try:
            arrays = make(numbers)
        except Exception as error:
            failure.append(error)  # tf.data would turn it into an opaque UnknownError
            raise
        return [arrays[name] for name in names]

    schema, names = REQUIRED | OPTIONAL, make.names
    sides = {"S": make.crop_size, "D": make.dense_size}

    def load(number):
        tensors = tf.numpy_function(chunk, [number], [tf.as_dtype(schema[name][1]) for name in names], stateful=False)
        for tensor, name in zip(tensors, names, strict=True):
            tensor.set_shape([None, *(sides.get(n, n) for n in schema[name][0])])
        return dict(zip(names, tensors, strict=True))

    options = tf.data.Options()
    options.deterministic = True
    options.threading.max_intra_op_parallelism = 1
    options.threading.private_threadpool_size = workers = workers or os.cpu_count() or 1
    end = np.iinfo(np.int64).max if last_step is None else last_step * chunks
    dataset = tf.data.Dataset.range(first_step * chunks, end)
    dataset = dataset.map(load, num_parallel_calls=workers)
    dataset = dataset.rebatch(share).prefetch(2).with_options(options)
    try:
        yield from dataset.as_numpy_iterator()
    except failed as error:
        raise (failure[0] if failure else error) from None
