"""Writes one block of a build: its records in an ArrayRecord file, then their keys, then a JSON file with its counts.

A block counts as finished when all three are there. Each is written atomically, so half a shard is never taken for a
whole one.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.report import Report
from data_pipelines.records.storage import file_state, is_remote
from hmr_jax.io import atomic


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
        """The records."""
        return epath.Path(self.staging) / f"{self.split}-{self.number:05d}.array_record"

    @property
    def keys(self) -> epath.Path:
        """`key_number` of each record, 64 bits each."""
        return self.shard.with_suffix(".keys")

    @property
    def counts(self) -> epath.Path:
        """What the block's report says."""
        return self.shard.with_suffix(".json")

    @property
    def finished(self) -> bool:
        """Whether the block need not be written again: all is there, and made of the file as it is now."""
        if not all(path.exists() for path in (self.counts, self.keys, self.shard, self.source)):
            return False
        return self.source.read_text() == self.state()

    @property
    def source(self) -> epath.Path:
        """The `state` of the file from which the block was made."""
        return self.shard.with_suffix(".source")

    def state(self) -> str:
        """Size and time of the file that the block names; "" where it names none on a local disk."""
        return file_state(str(self.block[0])) if self.block else ""


def write_block(job: Job) -> dict[str, Any]:
    """Writes the files of a block; returns the counts.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the data set's files are not in the expected format.
    """
    builder, state = _builder(job), job.state()
    report = Report()
    serialize = builder.info.features.serialize_example
    kept = builder.kept(job.split, [job.block], report, progress=False)
    try:
        write_shard(job.shard, (serialize(example) for _, example in kept))
    except (ValueError, OSError, ImportError):
        raise  # these say what to do
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"Files of split '{job.split}', {job.block}, are not in the expected format ({what})."
        ) from error
    report.read.setdefault(job.split, 0)
    keys = np.fromiter(report.keys.get(job.split, {}), np.uint64)
    with atomic.writing(job.keys) as path:
        path.write_bytes(keys.tobytes())
    atomic.write_text(job.source, state)
    counts = report.as_dict()
    atomic.write_text(job.counts, json.dumps(counts))
    return counts


def write_shard(path: epath.Path, examples: Iterator[bytes]) -> None:
    """Writes an ArrayRecord file atomically.

    ArrayRecord writes to local disks only: for other storage the file is made in a temporary folder and copied.

    Raises:
        OSError: the file cannot be written.
    """
    from array_record.python import array_record_module

    with atomic.writing(path) as final, contextlib.ExitStack() as stack:
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
