"""The working folder of a video: what is known of its frames so far, in parts, so that an interrupted run goes on.

A part is an npz file of the frames that its name says, written completely or not at all.
"""

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.io import atomic
from hmr_jax.io.json_files import load_json, write_json

_KEY = "key.json"


class Work:
    """A working folder."""

    def __init__(self, folder: Path, key: Mapping[str, Any]):
        """Opens or makes the folder; one with another key is emptied.

        Args:
            folder: of the work alone.
            key: what the parts depend on: the video, the checkpoint, options; what JSON can hold.
        """
        self.folder = folder
        self._done: dict[str, int] = {}
        wanted = json.loads(json.dumps(key))  # with lists for tuples, as it is read again
        try:
            same = load_json(folder / _KEY) == wanted
        except (OSError, ValueError):
            same = False
        if not same:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_json(folder / _KEY, wanted)

    def done(self, kind: str) -> int:
        """Number of frames, from the first on, whose parts of a kind are there."""
        if kind not in self._done:
            parts = self._parts(kind)
            self._done[kind] = parts[-1][1] if parts else 0
        return self._done[kind]

    def is_complete(self, kind: str) -> bool:
        """Whether `finish` was called."""
        return (self.folder / f"{kind}.complete").exists()

    def finish(self, kind: str) -> None:
        """Says that no more frames follow."""
        atomic.write_text(self.folder / f"{kind}.complete", "")

    def add(self, kind: str, stop: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds arrays of the frames from `done` on, up to `stop`."""
        atomic.write_npz(self.folder / f"{kind}_{self.done(kind):09d}_{stop:09d}.npz", arrays, compressed=False)
        self._done[kind] = stop

    def parts(self, kind: str, names: Collection[str] | None = None) -> Iterator[dict[str, np.ndarray]]:
        """The arrays of each part, in order: those of some names, as far as they are there, or all."""
        for path, _ in self._parts(kind):
            with np.load(path, allow_pickle=False) as file:
                yield {name: file[name] for name in file if names is None or name in names}

    def joined(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays of all parts, each joined along its first axis."""
        every = [part for part in self.parts(kind) if part]
        return {name: np.concatenate([part[name] for part in every]) for name in (every[0] if every else ())}

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _parts(self, kind: str) -> list[tuple[Path, int]]:
        """Paths and last frames of the parts that follow on each other without a gap."""
        found = {}
        for path in self.folder.iterdir():
            if match := re.fullmatch(rf"{kind}_(\d{{9}})_(\d{{9}})\.npz", path.name):
                found[int(match[1])] = path, int(match[2])
        parts, start = [], 0
        while start in found and found[start][1] > start:
            parts.append(found[start])
            start = found[start][1]
        return parts
