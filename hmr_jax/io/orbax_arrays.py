"""Read items of Orbax as NumPy arrays; arrays stored uncompressed in one file each are read at the speed of the disk.

Orbax itself copies every array once more. Such arrays are in zarr's layout, version 2: a folder for each array, whose
`.zarray` describes how it is stored.
"""

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flax
import jax
import ml_dtypes  # noqa: F401  (makes bfloat16 known to NumPy)
import numpy as np
import orbax.checkpoint as ocp


def read_plain_arrays(folder: Path) -> dict | None:
    """The tree of arrays of an item, or None if they are compressed or in several files each.

    Raises:
        ValueError: the file of an array is missing, cut off or too long.
    """
    paths = sorted(path.parent for path in folder.glob("*/.zarray"))
    layouts = [_layout(json.loads((path / ".zarray").read_text())) for path in paths]
    if not paths or None in layouts:
        return None
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(_read, paths, layouts))
    return flax.traverse_util.unflatten_dict(
        {path.name: array for path, array in zip(paths, arrays, strict=True)}, sep="."
    )


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


def read_item(path: Path) -> dict:
    """Reads an item through Orbax as NumPy arrays, whatever devices wrote it."""
    with ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), metadata)
        return checkpointer.restore(path, target)
