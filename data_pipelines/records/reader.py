"""Reads records in any order from the ArrayRecord files of a TFDS data set and decodes them.

Missing or truncated files and other schemas are refused when a data set is opened. A single record that cannot be used
raises `BadRecord`; the pipeline replaces such a record.

Shapes: H and W of the stored image.
"""

import difflib
import io
import os
from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from data_pipelines.records import ADDED, DEPTH_STEP, FIELDS, Record, decode_depth, decode_mask
from data_pipelines.records.storage import local_copy
from hmr_jax.depth import DepthMap
from hmr_jax.io.images import to_rgb


class BadRecord(ValueError):
    """One record cannot be used."""


class MissingSplit(ValueError):
    """A data set lacks a split."""


def import_tensorflow() -> ModuleType:
    """TensorFlow, quiet and kept off the accelerators, which belong to JAX.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it prints a notice and speeds up nothing here
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "Reading records needs TensorFlow: `pip install 'hmr_jax[train]'`, or use --data.source synthetic."
        ) from error
    for kind in ("GPU", "TPU"):
        if tf.config.list_physical_devices(kind):
            tf.config.set_visible_devices([], kind)
    return tf


class RecordReader:
    """One split of one data set: random access to its records, safe to use from many threads."""

    def __init__(self, directory: str | os.PathLike, name: str, split: str):
        """Opens a split.

        Args:
            directory: where the data sets are, on a disk or at gs://.
            name: of the data set, with "/configuration" appended where it has several.
            split: "train", "validation" or "test".

        Raises:
            FileNotFoundError: there is no such data set.
            MissingSplit: it has no such split.
            ValueError: files are truncated, or have another schema than `records.FIELDS`.
        """
        self._example = import_tensorflow().train.Example
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self.name, self.split = name, split
        folder = find_version(epath.Path(directory).expanduser(), name)
        try:
            info = tfds.builder_from_directory(folder).info
        except Exception as error:  # of TFDS, protobuf or json
            raise ValueError(
                f"dataset_info.json or features.json in {folder} is damaged or missing "
                f"({' '.join(str(error).split())[:200]}): build '{name}' again with --overwrite."
            ) from error
        if split not in info.splits or not info.splits[split].num_examples:
            raise MissingSplit(f"Data set '{name}' has no split '{split}'; it has {', '.join(info.splits)}.")
        stored = tfds.core.utils.flatten_nest_dict(info.features.get_serialized_info())
        if difference := (stored.keys() ^ FIELDS.keys()) - {name for name in ADDED if name not in stored}:
            names = ", ".join(sorted(difference))
            raise ValueError(f"Data set '{name}' has another record schema ({names} differ): build it again.")
        paths = [local_copy(path) for path in info.splits[split].filepaths]
        for path, expected in zip(paths, info.splits[split].shard_lengths, strict=True):
            try:
                found = len(ArrayRecordDataSource(path))
            except (RuntimeError, OSError, ValueError):
                found = 0
            if found != expected:
                raise ValueError(
                    f"{path} is truncated or missing ({found} of {expected} records can be read): "
                    f"build '{name}' again with --overwrite."
                )
        self._files = ArrayRecordDataSource(paths)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def topology(self) -> str:
        """Of the body whose parameters the data set holds; "" where it holds none."""
        for index in range(len(self)):
            try:
                return self[index]["topology"]
            except BadRecord:
                continue
        return ""

    def __getitem__(self, index: int) -> Record:
        """Record number `index`, its images still encoded.

        Raises:
            BadRecord: it cannot be read, or holds numbers that are not finite.
        """
        try:
            feature = self._example.FromString(self._files[int(index)]).features.feature
            record: Record = {
                name: _value(feature[name], *field) if name in feature or name not in ADDED else _absent(*field)
                for name, field in FIELDS.items()
            }
        except Exception as error:  # checksum, wire format, missing or misshapen value: each library has its own class
            raise BadRecord(f"unreadable ({error})") from error
        for name, value in record.items():
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                raise BadRecord(f"{name} is not finite")
        if not record["box/size"] > 0:
            raise BadRecord("box/size is not positive")
        return record


def _absent(shape: tuple[int, ...], dtype: str) -> str | np.ndarray:
    return "" if dtype == "str" else np.zeros(shape, dtype)


def _value(feature: Any, shape: tuple[int, ...], dtype: str) -> str | bytes | int | np.ndarray:
    if dtype == "float32":
        return np.array(feature.float_list.value, np.float32).reshape(shape)
    if dtype == "int64":
        return feature.int64_list.value[0]
    value = feature.bytes_list.value[0]
    return value.decode() if dtype == "str" else value


def find_version(directory: epath.Path, name: str) -> epath.Path:
    """The folder of a data set's newest version.

    Raises:
        FileNotFoundError: there is none; the message has the nearest names.
    """
    versions = [path.parent for path in (directory / name).glob("*/dataset_info.json")]
    versions = [path for path in versions if path.name.replace(".", "").isdigit()]  # not a build under way
    if versions:
        return max(versions, key=lambda path: tuple(int(part) for part in path.name.split(".")))
    found = [path.parents[1] for depth in ("*/*", "*/*/*") for path in directory.glob(f"{depth}/dataset_info.json")]
    built = sorted({str(path.relative_to(directory)) for path in found})
    built = [name for name in built if not name.startswith(".")]  # builds under way
    near = difflib.get_close_matches(name, built, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" There: {', '.join(built)}." if built else ""
    raise FileNotFoundError(
        f"No data set '{name}' in '{directory}'.{hint} "
        f"Build it with `python -m data_pipelines.build {name} --data-dir {directory}`."
    )


@dataclass(frozen=True)
class Person:
    """A record with its images decoded."""

    record: Record
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    mask: np.ndarray | None
    """(H, W) uint8, 1 on the person; None: absent, or not asked for."""
    depth: np.ndarray | None
    """(H, W) float32 metres, 0 = nothing seen; None: absent, or not asked for."""
    pseudo_depth: DepthMap | None = None
    """Of either kind, for a network to see; None: absent, or not asked for."""


def decode_person(record: Record, dense: Collection[str] = (), pseudo_depth: bool = False) -> Person:
    """Decodes a record.

    Inverse depth counts as absent among the dense maps: it has neither scale nor origin, so it does not give the metres
    of a batch.

    Args:
        record: of `RecordReader`.
        dense: maps to decode, of "mask" and "depth".
        pseudo_depth: decode depth of either kind for a network to see.

    Raises:
        BadRecord: an image cannot be decoded, or a map is not of its size.
    """
    kind = record["depth/kind"]
    wants_mask = "mask" in dense and record["mask/encoded"]
    wants_dense = "depth" in dense and kind == "metric"
    wants_pseudo = pseudo_depth and kind in DEPTH_STEP
    try:
        stored = Image.open(io.BytesIO(record["image/encoded"]))
        image = np.asarray(stored) if stored.mode == "RGB" else to_rgb(stored)
        mask = decode_mask(record["mask/encoded"]) if wants_mask else None
        depth = decode_depth(record["depth/encoded"], kind) if wants_dense or wants_pseudo else None
        for name, values in (("mask", mask), ("depth map", depth)):
            if values is not None and values.shape != image.shape[:2]:
                sizes = "x".join(map(str, values.shape[::-1])), "x".join(map(str, image.shape[1::-1]))
                raise BadRecord(f"the {name} is {sizes[0]} but the image {sizes[1]}")
        pseudo = DepthMap.from_values(depth, kind) if wants_pseudo and depth is not None else None
        return Person(record, image, mask, depth if wants_dense else None, pseudo)
    except BadRecord:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadRecord(f"an image cannot be decoded ({error})") from error
