"""Finishes a build: drops duplicates, writes TFDS's metadata, and moves the data set to its own folder."""

import contextlib
import json
import os
import tempfile

import numpy as np
from etils import epath

from data_pipelines.builders.base import RecordBuilder
from data_pipelines.builders.report import DUPLICATE, Report
from data_pipelines.builders.shards import Job, write_shard
from data_pipelines.records.storage import is_remote


def finish(builder: RecordBuilder, jobs: list[Job], staging: epath.Path) -> epath.Path:
    """Drops keys that several blocks use, names the shards as TFDS does and writes its metadata.

    Args:
        builder: of the data set; `builder.report` takes the counts.
        jobs: all finished.
        staging: folder of the build.

    Returns:
        The folder with the whole data set, in `staging`.

    Raises:
        ValueError: a split has not a single good row.
    """
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
        parts = _without_duplicates([job for job in jobs if job.split == split], report)
        if not parts:
            raise ValueError(f"No row of split '{split}' of '{builder.name}' can be used:\n{report}")
        template = tfds.core.ShardedFileTemplate(
            data_dir=finished, dataset_name=builder.name, split=split, filetype_suffix="array_record"
        )
        paths = [
            epath.Path(template.sharded_filepath(shard_index=number, num_shards=len(parts)))
            for number in range(len(parts))
        ]
        for path, (shard, rows, whole) in zip(paths, parts, strict=True):
            _place(shard, path, None if whole else rows)
        lengths, size = [len(rows) for _, rows, _ in parts], sum(int(path.stat().length) for path in paths)
        infos.append(tfds.core.SplitInfo(split, lengths, size, template))
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(finished)
    builder.report = report
    return finished


def _without_duplicates(jobs: list[Job], report: Report) -> list[tuple[epath.Path, list[int], bool]]:
    """The shards of a split, the rows of each that are left, and whether these are all; of one key, the first is left.

    The blocks' own files stay as they are, so that a build that is interrupted here need not write them again.
    """
    seen: set[int] = set()
    parts = []
    for job in jobs:
        keys = np.frombuffer(job.keys.read_bytes(), np.uint64).tolist()
        good = [row for row, key in enumerate(keys) if key not in seen]
        seen.update(keys)
        if len(good) < len(keys):
            report.drop(job.split, DUPLICATE, len(keys) - len(good))
        if good:
            parts.append((job.shard, good, len(good) == len(keys)))
    return parts


def _place(shard: epath.Path, path: epath.Path, rows: list[int] | None) -> None:
    """Makes `path` of some rows of a shard, or of all: then a hard link, where the storage has links."""
    if rows is None:
        if not is_remote(path):
            with contextlib.suppress(OSError):
                os.link(shard, path)
                return
        shard.copy(path)
        return
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    with tempfile.TemporaryDirectory() as folder:
        local = epath.Path(folder) / shard.name
        shard.copy(local)
        source = ArrayRecordDataSource(os.fspath(local))
        write_shard(path, (source[row] for row in rows))


def publish(finished: epath.Path, target: epath.Path) -> None:
    """Moves a finished data set to its final folder; `dataset_info.json`, by which it is found, comes last."""
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
