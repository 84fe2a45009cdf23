"""Batches from records: the tf.data pipeline.

A batch is a pure function of its step: each host makes its own slice of the examples with the numbers of that step.
tf.data runs the work in parallel threads and keeps the order. The work itself (`loading.examples`) is done by NumPy,
Pillow and one compiled kernel, which release the interpreter lock and are several times faster on CPUs than
TensorFlow's image operations.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines.loading.examples import ExampleMaker
from data_pipelines.loading.index_stream import batch_numbers
from data_pipelines.records.reader import import_tensorflow
from hmr_jax.batch import OPTIONAL, REQUIRED, Batch, resolve

CHUNK = 16  # examples that one thread makes at a time


def batches(
    make: ExampleMaker,
    batch_size: int,
    first_step: int,
    last_step: int | None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """This host's slices of the global batches from `first_step` to `last_step` - 1.

    Args:
        make: makes the examples.
        batch_size: of the global batch.
        first_step: where to begin; nothing before is computed.
        last_step: where to end; None: endless.
        process_index: which host this is.
        process_count: how many hosts there are.
        workers: threads; 0: one per core.

    Raises:
        ValueError: the hosts cannot share a batch, or the records cannot be used.
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
    sides = {"S": make.crop_size, "D": make.dense_size, "P": make.stored_size}

    def load(number: Any) -> dict[str, Any]:
        tensors = tf.numpy_function(chunk, [number], [tf.as_dtype(schema[name][1]) for name in names], stateful=False)
        for tensor, name in zip(tensors, names, strict=True):
            tensor.set_shape([None, *resolve(schema[name][0], sides)])
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
