"""Atomic writing, the one way to write files: to a temporary file beside the destination, which is then renamed.

    with atomic.writing(path) as part:
        part.write_bytes(data)

A reader never sees an incomplete file, an exception leaves the old file as it was, and two processes that write the
same file do not disturb each other. Paths may be those of `pathlib` or of `etils.epath`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

AnyPath = TypeVar("AnyPath", bound=Path)  # epath.Path follows pathlib's interface


def _beside(path: AnyPath) -> AnyPath:
    """The temporary path: hidden, in the same folder, one for each process."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextlib.contextmanager
def writing(path: AnyPath) -> Iterator[AnyPath]:
    """Yields a temporary path to write to; at the end of the block it becomes the file `path`.

    Raises:
        OSError: the file cannot be written; an old file at `path` is unchanged.
    """
    part = _beside(path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which must not exist yet."""
    part = _beside(path)
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], compressed: bool = True) -> None:
    """Writes arrays by name as an npz file, atomically; arrays of objects are refused."""
    save = np.savez_compressed if compressed else np.savez
    with writing(path) as part, part.open("wb") as file:
        save(file, allow_pickle=False, **arrays)
