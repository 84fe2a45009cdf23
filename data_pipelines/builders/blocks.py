"""Builds a data set block by block in several processes; an interrupted build goes on where it stopped."""

import contextlib
import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import jax
from etils import epath
from tqdm import tqdm

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.finish import finish
from data_pipelines.builders.shards import Job, write_block
from data_pipelines.loading.background import end_with_parent
from data_pipelines.records import FIELDS
from data_pipelines.records.storage import is_remote
from hmr_jax.io import atomic


def build_blocks(
    builder: RecordBuilder,
    options: Mapping[str, Any],
    blocks: Mapping[str, list[Block]],
    staging: epath.Path,
    workers: int = 1,
) -> epath.Path:
    """Writes all shards and the metadata of a data set.

    Args:
        builder: of the data set, with its `manual_dir`; `builder.report` takes the counts.
        options: with which it was made.
        blocks: split: its blocks.
        staging: folder of the unfinished build; what is finished in it is not done again.
        workers: processes; 1: this one.

    Returns:
        The folder with the whole data set, in `staging`.

    Raises:
        ValueError: a split has not a single good row.
    """
    assert builder.manual_dir is not None
    manual_dir = os.fspath(builder.manual_dir)
    name = f"{type(builder).__module__}:{type(builder).__qualname__}"
    plan = repr((name, str(builder.version), sorted(options.items()), sorted(blocks.items()), FIELDS))
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
    return finish(builder, jobs, staging)


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
                "A process of the build died, probably for lack of memory: the same command goes on with what is "
                "finished; use fewer --workers."
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _set_up_worker() -> None:
    """Leaves accelerators alone, which each worker would take for itself, and ends when the parent is gone."""
    jax.config.update("jax_platforms", "cpu")
    end_with_parent()


@contextlib.contextmanager
def only_one(staging: epath.Path) -> Iterator[None]:
    """Keeps a second build of the same data set out, on a local disk; other storage has no locks.

    Raises:
        BlockingIOError: another process is building the data set.
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
    atomic.write_text(path, plan)
