"""Features of a frozen encoder, computed once and kept on disk: training then runs at the speed of the other layers.

The cache holds the first examples of the training stream, each with the augmentation that it was drawn with; what
`config.cache.examples` asks for beyond the size of the data set is further views of its people. Training draws from
them in a new order in each epoch. What is shown at a step depends on the step and the seed alone.

    feature_cache/KEY/NAME.npy        an array of the batch, or "features" and "landmarks", a row for each example
    feature_cache/KEY/progress.json   how many batches are complete: an interrupted computation goes on from there

KEY is a hash of the encoder and its parameters, of the data's configuration, and of the first batch itself, so that
data that were built anew are not taken for the old ones.

Shapes: B rows of this host in a batch.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from hmr_jax.batch import Batch, BatchSource
from hmr_jax.config import Config, to_dict
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.models.encoders import EncoderAlone
from hmr_jax.models.parameters import Params, encoder_variables

_SAVED_EVERY = 8  # batches between notes of progress
_AT_ONCE = 8  # crops of a CPU device: the maps of more do not stay in its caches


def cached_source(
    config: Config, batches: BatchSource | Iterable[Batch], params: Params, dtype: Any, say: Callable[[str], None]
) -> BatchSource:
    """Fills the cache where it is not complete yet, and returns a source of batches with features in place of images.

    Args:
        config: `cache`, `data`, `model`, `optim.frozen`, `seed` and `batch_size` are read.
        batches: the training batches as a function of the step.
        params: those of the encoder among them, as NumPy arrays.
        dtype: of the encoder's computation.
        say: told about the cache.

    Raises:
        ValueError: the encoder is not frozen, or it needs something else than the crop.
        OSError: the disk is too small, or the cache would be larger than `config.cache.limit_gib`.
    """
    if not callable(batches):
        raise ValueError("cache.examples needs batches that can be made again: pass a source instead of an iterable.")
    _check(config)
    count = -(-config.cache.examples // config.batch_size)
    with _closing(batches(0)) as stream:
        first = dict(next(stream))
    encoder = _EncoderOnDevices(config, params, dtype)
    folder = Path(config.cache.directory) / _key(config, first, params)
    done = _prepare(folder, first, encoder, count, config.cache.limit_gib)
    say(f"features of {count * config.batch_size:,} examples in {folder}, {done / count:.0%} of them computed earlier")
    _fill(folder, batches, encoder, done, count)
    return functools.partial(_read, folder, len(first["index"]), count, config.seed)


def _check(config: Config) -> None:
    """Raises ValueError if features cannot stand for the crops."""
    if "encoder" not in config.optim.frozen:
        raise ValueError("cache.examples keeps the features of a frozen encoder: add 'encoder' to optim.frozen.")
    if config.data.warp == "device":
        raise ValueError("cache.examples needs crops, not whole images: set data.warp to host.")
    if config.model.name == "d2a_hmr" and config.model.d2a.depth_stream == "shared":
        raise ValueError("A shared depth stream trains with the encoder's images: set cache.examples to 0.")


class _EncoderOnDevices:
    """Features of a batch's crops; this host's rows are split over its devices."""

    def __init__(self, config: Config, params: Params, dtype: Any):
        mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("rows",))
        self._rows = NamedSharding(mesh, PartitionSpec("rows"))
        self._variables = jax.device_put(encoder_variables(params), NamedSharding(mesh, PartitionSpec()))
        # On a CPU several calls run side by side; matrix products that use all cores as well would be in their way.
        options = {"xla_cpu_multi_thread_eigen": False} if jax.default_backend() == "cpu" else None
        self._apply = jax.jit(EncoderAlone(config.model, dtype).apply, compiler_options=options)

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """ "features" (B, h, w, C) float16 and, if the encoder finds them, "landmarks" (B, M, K)."""
        images = batch["image"]
        size = len(images) if jax.default_backend() != "cpu" else _AT_ONCE * self._rows.mesh.size
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        encoded = [self._apply(self._variables, jax.device_put(part, self._rows)) for part in parts]
        features, landmarks = zip(*map(jax.device_get, encoded), strict=True)
        arrays = {"features": np.concatenate(features).astype(np.float16)}
        return arrays if landmarks[0] is None else arrays | {"landmarks": np.concatenate(landmarks)}


def _key(config: Config, first: Batch, params: Params) -> str:
    """The name of a cache: everything that its content depends on."""
    data = dataclasses.replace(config.data, workers=0, processes=0, directory="")
    model = {name: to_dict(config.model)[name] for name in ("encoder", "body", "dtype")}
    shard = [jax.process_index(), jax.process_count(), config.batch_size, config.cache.examples]
    digest = hashlib.sha256(json.dumps([model, to_dict(data), config.seed, shard], sort_keys=True).encode())
    for tree in (params["encoder"], params.get("batch_stats", {}), dict(first)):
        for array in jax.tree.leaves(tree):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:20]


def _prepare(folder: Path, first: Batch, encoder: "_EncoderOnDevices", count: int, limit_gib: float) -> int:
    """Makes the arrays' files, if the disk has room for them; returns how many batches are complete."""
    if (folder / "progress.json").exists():
        return read_json(folder / "progress.json")["batches"]
    rows = {name: array for name, array in first.items() if name != "image"} | encoder(first)
    size = count * sum(array.nbytes for array in rows.values())
    text = f"The feature cache {folder} needs {size / 2**30:.1f} GiB"
    if size > limit_gib * 2**30:
        raise OSError(f"{text}, but cache.limit_gib is {limit_gib:g}: raise it, or lower cache.examples.")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"{text}, but only {free / 2**30:.1f} GiB are free: lower cache.examples, or set cache.directory."
        )
    for name, array in rows.items():
        shape = (count * len(array), *array.shape[1:])
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, shape).flush()
    write_json(folder / "progress.json", {"batches": 0})
    return 0


def _fill(folder: Path, batches: BatchSource, encoder: _EncoderOnDevices, done: int, count: int) -> None:
    """Computes the batches from `done` on: several at a time, as one call of the encoder leaves cores idle."""
    if done == count:
        return
    files: dict[str, Any] = {path.stem: np.load(path, mmap_mode="r+") for path in folder.glob("*.npy")}

    def compute(number: int, batch: Batch) -> int:
        rows = dict(batch) | encoder(batch)
        size = len(batch["index"])
        for name, file in files.items():
            file[number * size : (number + 1) * size] = rows[name]
        return number

    threads = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 2
    bar = tqdm(total=count, initial=done, unit="batch", desc="features", disable=jax.process_index() > 0, mininterval=5)
    waiting: deque = deque()
    with _closing(batches(done)) as stream, bar, ThreadPoolExecutor(threads) as pool:
        for number in range(done, count + threads):
            if number < count:
                waiting.append(pool.submit(compute, number, next(stream)))
            if number >= done + threads and waiting:
                _note(folder, files, waiting.popleft().result() + 1, count)
                bar.update()


def _closing(stream: Iterator[Batch]) -> contextlib.AbstractContextManager[Iterator[Batch]]:
    """Ends a stream's threads, if it has any."""
    closable: Any = stream
    return contextlib.closing(closable) if hasattr(stream, "close") else contextlib.nullcontext(stream)


def _note(folder: Path, files: dict[str, np.memmap], done: int, count: int) -> None:
    """Writes how many batches are complete, now and then, after the arrays themselves."""
    if done % _SAVED_EVERY == 0 or done == count:
        for file in files.values():
            file.flush()
        write_json(folder / "progress.json", {"batches": done})


def _read(folder: Path, size: int, count: int, seed: int, step: int) -> Iterator[Batch]:
    """The batches from a step on, of which the next is read while one is in use."""
    files = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    order: Callable[[int], np.ndarray] = functools.lru_cache(2)(
        lambda epoch: np.random.default_rng([seed, epoch]).permutation(count * size)
    )

    def batch(number: int) -> Batch:
        epoch, position = divmod(number, count)
        rows = np.sort(order(epoch)[position * size : (position + 1) * size])
        return {name: file[rows] for name, file in files.items()}

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(batch, step)
        for number in itertools.count(step + 1):
            current, following = following.result(), pool.submit(batch, number)
            yield current
