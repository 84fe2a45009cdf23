"""Builds a data set block by block in several processes; an interrupted build goes on where it stopped.

Each block becomes one ArrayRecord file and, last, a JSON file with its counts: only then does the block count as
finished. Both are written under another name and renamed, so half a shard is never taken for a whole one.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jax
import numpy as np
from etils import epath
from tqdm import tqdm

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.report import DUPLICATE, Report
from data_pipelines.records.storage import is_remote


@dataclass(frozen=True)
class Job:
    """One block for one process."""

    builder: str
    """module:class"""
    options: tuple[tuple[str, Any], ...]
    split: str
    number: int
    """Of the block in its split."""
    block: Block
    staging: str
    manual_dir: str
    """Where the user's files are."""

    @property
    def shard(self) -> epath.Path:
        return epath.Path(self.staging) / f"{self.split}-{self.number:05d}.array_record"

    @property
    def counts(self) -> epath.Path:
        return self.shard.with_suffix(".json")

    @property
    def finished(self) -> bool:
        return self.counts.exists() and self.shard.exists()


def build_blocks(
    builder: RecordBuilder,
    options: Mapping[str, Any],
    blocks: Mapping[str, list[Block]],
    staging: epath.Path,
    workers: int = 1,
) -> epath.Path:
    """Writes all shards and the metadata of a data set.

    Args:
        builder: Of the data set, with its `manual_dir`; `builder.report` takes the counts.
        options: With which it was made.
        blocks: Split: its blocks.
        staging: Folder of the unfinished build; what is finished in it is not done again.
        workers: Processes; 1: this one.

    Returns:
        The folder with the whole data set, in `staging`.

    Raises:
        ValueError: A split without a single good row.
    """
    assert builder.manual_dir is not None
    manual_dir = os.fspath(builder.manual_dir)
    name = f"{type(builder).__module__}:{type(builder).__qualname__}"
    plan = repr((name, str(builder.version), sorted(options.items()), sorted(blocks.items())))
    _claim(staging, hashlib.sha256(plan.encode()).hexdigest())
    jobs = [
        Job(name, tuple(options.items()), split, number, block, os.fspath(staging), manual_dir)
        for split, parts in blocks.items()
        for number, block in enumerate(parts)
    ]
    open_jobs = [job for job in jobs if not job.finished]
    with tqdm(total=len(jobs), initial=len(jobs) - len(open_jobs), desc=builder.name, unit=" shards") as bar:
        rows = 0
        for counts in _run(open_jobs, workers):
            rows += sum(part["read"] for part in counts.values())
            bar.set_postfix_str(f"{rows} rows", refresh=False)
            bar.update()
    return _finish(builder, jobs, staging)


def _run(jobs: list[Job], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1 or len(jobs) < 2:
        yield from map(write_block, jobs)
        return
    # Not forked: TensorFlow's and JAX's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _set_up_worker) as pool:
        futures: list[Future[dict[str, Any]]] = [pool.submit(write_block, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise OSError(
                "A process of the build died, probably for want of memory: the same command goes on with what is "
                "finished; use fewer --workers."
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _set_up_worker() -> None:
    """Leaves accelerators alone, which each worker would take for itself, and ends when the parent is gone."""
    jax.config.update("jax_platforms", "cpu")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_block(job: Job) -> dict[str, Any]:
    """Writes the shard of a block, then its counts, which are returned."""
    builder = _builder(job)
    report = Report()
    serialize = builder.info.features.serialize_example
    kept = builder.kept(job.split, [job.block], report, progress=False)
    try:
        write_shard(job.shard, (serialize(example) for _, example in kept))
    except (ValueError, OSError, ImportError):
        raise  # says what to do
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"Files of split '{job.split}', {job.block}, are not in the expected format ({what})."
        ) from error
    report.read.setdefault(job.split, 0)
    keys = np.fromiter(report.keys.get(job.split, {}), np.uint64)
    with _replacing(job.shard.with_suffix(".npy")) as path:
        path.write_bytes(keys.tobytes())
    counts = report.as_dict()
    with _replacing(job.counts) as path:
        path.write_text(json.dumps(counts))
    return counts


def write_shard(path: epath.Path, examples: Iterator[bytes]) -> None:
    """Writes an ArrayRecord file; when anything fails, nothing is left of it.

    ArrayRecord writes to disks only: for other storage the file is made in a temporary folder and copied.
    """
    from array_record.python import array_record_module

    with _replacing(path) as final, contextlib.ExitStack() as stack:
        local = final
        if is_remote(path):
            local = epath.Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.name
        writer = array_record_module.ArrayRecordWriter(os.fspath(local), "group_size:1")
        try:
            for example in examples:
                _or_os_error(path, writer.write, example)
        except BaseException:
            with contextlib.suppress(RuntimeError):
                writer.close()
            raise
        _or_os_error(path, writer.close)  # a full disk may show only here
        if local is not final:
            local.copy(final)


def _or_os_error(path: epath.Path, call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except RuntimeError as error:  # ArrayRecord's only class of errors
        raise OSError(f"{path.name} cannot be written ({error}); the same command goes on from there.") from None


@contextlib.contextmanager
def _replacing(path: epath.Path) -> Iterator[epath.Path]:
    """A name to write to, which becomes `path` if all goes well and is removed otherwise."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _builder(job: Job) -> RecordBuilder:
    """The builder of a job; the last one is kept, as most jobs of a process have the same."""
    key = repr((job.builder, job.options))
    if key not in _LAST_BUILDER:
        module, _, class_name = job.builder.partition(":")
        builder_class = getattr(import_module(module), class_name)
        made = builder_class(data_dir=f"{job.staging}/worker", file_format="array_record", **dict(job.options))
        _LAST_BUILDER.clear()
        _LAST_BUILDER[key] = made
    _LAST_BUILDER[key].manual_dir = epath.Path(job.manual_dir)
    return _LAST_BUILDER[key]


_LAST_BUILDER: dict[str, RecordBuilder] = {}


@contextlib.contextmanager
def only_one(staging: epath.Path) -> Iterator[None]:
    """Keeps a second build of the same data set out, on a disk; other storage has no locks.

    Raises:
        BlockingIOError: Another process is at it.
    """
    if is_remote(staging):
        yield
        return
    import fcntl

    staging.mkdir(parents=True, exist_ok=True)
    with open(staging / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"Another process is building in {staging}: wait for it or end it.") from None
        yield


def _claim(staging: epath.Path, plan: str) -> None:
    """Makes the folder, or empties it if it belongs to a build of other files or options."""
    path = staging / "plan"
    if path.exists() and path.read_text() != plan:
        print(f"{staging} holds an unfinished build of other files or options: starting anew.")
        for old in staging.iterdir():
            if old.name != "lock":
                old.rmtree() if old.is_dir() else old.unlink()
    staging.mkdir(parents=True, exist_ok=True)
    path.write_text(plan)


def _finish(builder: RecordBuilder, jobs: list[Job], staging: epath.Path) -> epath.Path:
    """Drops keys that several blocks use, names the shards as TFDS does and writes its metadata."""
    import tensorflow_datasets as tfds

    report = Report()
    for job in jobs:
        report.add(json.loads(job.counts.read_text()))
    finished = staging / "finished"
    if finished.exists():
        finished.rmtree()
    finished.mkdir()
    infos = []
    for split in dict.fromkeys(job.split for job in jobs):
        shards = _without_duplicates([job for job in jobs if job.split == split], report)
        if not shards:
            raise ValueError(f"No row of split '{split}' of '{builder.name}' can be used:\n{report}")
        template = tfds.core.ShardedFileTemplate(
            data_dir=finished, dataset_name=builder.name, split=split, filetype_suffix="array_record"
        )
        sizes = [int(path.stat().length) for path, _ in shards]
        for number, (path, _) in enumerate(shards):
            path.rename(template.sharded_filepath(shard_index=number, num_shards=len(shards)))
        lengths = [length for _, length in shards]
        infos.append(tfds.core.SplitInfo(split, lengths, sum(sizes), template))
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(finished)
    builder.report = report
    return finished


def _without_duplicates(jobs: list[Job], report: Report) -> list[tuple[epath.Path, int]]:
    """The shards of a split with their lengths; of records with one key, only the first is left."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    seen: set[int] = set()
    shards = []
    for job in jobs:
        keys = np.frombuffer(job.shard.with_suffix(".npy").read_bytes(), np.uint64).tolist()
        good = [row for row, key in enumerate(keys) if key not in seen]
        seen.update(keys)
        if len(good) < len(keys):
            report.drop(job.split, DUPLICATE, len(keys) - len(good))
            with tempfile.TemporaryDirectory() as folder:
                local = epath.Path(folder) / job.shard.name
                job.shard.copy(local)
                source = ArrayRecordDataSource(os.fspath(local))
                write_shard(job.shard, (source[row] for row in good))
        if good:
            shards.append((job.shard, len(good)))
    return shards


def publish(finished: epath.Path, target: epath.Path) -> None:
    """Moves a finished data set to its place; `dataset_info.json`, by which it is found, comes last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_remote(target):
        if target.exists():
            target.rename(finished.with_name("replaced"))
        finished.rename(target)
        return
    if target.exists():
        target.rmtree()
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(finished.iterdir(), key=lambda path: path.name == "dataset_info.json"):
        path.copy(target / path.name, overwrite=True)
    finished.rmtree()
