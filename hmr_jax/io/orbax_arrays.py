"""Read items of Orbax as NumPy arrays; arrays stored uncompressed in one file each are read at the speed of the disk.

Orbax itself copies every array once more. Such arrays are in zarr's layout, version 2: a folder for each array, whose
`.zarray` describes how it is stored. Zarr stores no checksums: those of `hmr_jax.io.checksums` are compared first.
"""

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flax
import jax
import ml_dtypes  # noqa: F401  (makes bfloat16 known to NumPy)
import numpy as np
import orbax.checkpoint as ocp

from hmr_jax.io.checksums import verify_checksums


def read_plain_arrays(folder: Path) -> dict | None:
    """The tree of arrays of an item, or None if they are compressed or in several files each.

    Raises:
        ValueError: the file of an array is missing, cut off or too long.
    """
    paths = sorted(path.parent for path in folder.glob("*/.zarray"))
    layouts = [_layout(json.loads((path / ".zarray").read_text())) for path in paths]
    if not paths or None in layouts:
        return None
    missing = _names(folder) - {path.name for path in paths}
    if missing:
        raise ValueError(f"the array {min(missing)} is missing.")
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(_read, paths, layouts))
    return flax.traverse_util.unflatten_dict(
        {path.name: array for path, array in zip(paths, arrays, strict=True)}, sep="."
    )


def _names(folder: Path) -> set[str]:
    """The arrays that an item should hold, as far as it says so."""
    path = folder / "_METADATA"
    entries = json.loads(path.read_text())["tree_metadata"].values() if path.exists() else ()
    return {".".join(str(key["key"]) for key in entry["key_metadata"]) for entry in entries}


def _layout(values: dict) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and type of an array that is stored as it is in memory; None for other arrays."""
    plain = (
        values.get("zarr_format") == 2
        and values.get("order") == "C"
        and values.get("compressor") is None
        and not values.get("filters")
        and values.get("chunks") == values.get("shape")
        and re.fullmatch(r"<[fiu][248]|\|[iub]1|bfloat16", str(values.get("dtype")))
    )
    return (tuple(values["shape"]), np.dtype(values["dtype"])) if plain else None


def _read(path: Path, layout: tuple[tuple[int, ...], np.dtype]) -> np.ndarray:
    shape, dtype = layout
    file = path / (".".join("0" for _ in shape) or "0")
    wanted = math.prod(shape) * dtype.itemsize
    size = file.stat().st_size if file.exists() else 0
    if size != wanted:
        raise ValueError(f"the array {path.name} has {size:,} bytes instead of {wanted:,}.")
    return np.fromfile(file, dtype).reshape(shape)


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Keeps from the log what Orbax warns of in every save and load, e.g. that an item has no metadata of its own."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def read_item(path: Path) -> dict:
    """Reads an item of Orbax as NumPy arrays, whatever devices wrote it, and compares its checksums if it has any.

    Raises:
        ValueError: a file is damaged, cut off or missing.
        Exception: of many types, which Orbax raises for an item that is damaged in another way.
    """
    verify_checksums(path)
    plain = read_plain_arrays(path)
    return read_through_orbax(path) if plain is None else plain


def read_part(path: Path, name: str) -> dict:
    """Reads one entry of an item's tree as NumPy arrays, e.g. the moving average without the optimiser's state."""
    verify_checksums(path)
    with without_notices(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
        target = {name: jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), metadata[name])}
        restore: Any = ocp.args.PyTreeRestore
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
        return checkpointer.restore(path, restore(target, restore_args=arguments, partial_restore=True))[name]


def read_through_orbax(path: Path) -> dict:
    """Reads an item as `read_item` does, but always with Orbax and without comparing checksums."""
    with without_notices(), ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), metadata)
        return checkpointer.restore(path, target)
