"""Partial results of a long evaluation, on disk in chunks: an interrupted evaluation resumes from them.

A folder holds `identity.json` (what is evaluated) and `<first step>_<last step>.npz` for every finished chunk. A file
appears only when it is complete.
"""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hmr_jax.io import atomic
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.io.research_files import plain_arrays

Rows = dict[str, np.ndarray]


class PartialResults:
    """Chunks of rows of one evaluation; only the first host writes, all read."""

    def __init__(self, folder: Path, identity: dict[str, Any]):
        """Opens the folder; results of another evaluation in it are removed."""
        self.folder = folder
        self._first = jax.process_index() == 0
        if not self._first:
            return
        path = folder / "identity.json"
        with contextlib.suppress(ValueError, FileNotFoundError):
            if read_json(path) == identity:
                return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(path, identity)

    def load(self) -> tuple[int, list[Rows]]:
        """The step to resume from, and the rows of the steps before; a damaged chunk and all after it are left out."""
        step, parts = 0, []
        chunks = {}
        for path in self.folder.glob("*_*.npz"):
            first, last = map(int, path.stem.split("_"))
            chunks[first] = (last, path)
        while step in chunks:
            last, path = chunks[step]
            try:
                with path.open("rb") as file:
                    parts.append(plain_arrays(file))
            except Exception:  # zip, zlib and NumPy each raise their own errors for a damaged file
                break
            step = last
        return step, parts

    def save(self, first: int, last: int, rows: Rows) -> None:
        """Writes the rows of the steps `first` .. `last` - 1."""
        if not self._first:
            return
        atomic.write_npz(self.folder / f"{first:08d}_{last:08d}.npz", rows, compressed=False)

    def remove(self) -> None:
        """Removes the folder: the evaluation is done and its result written."""
        if self._first:
            shutil.rmtree(self.folder, ignore_errors=True)
