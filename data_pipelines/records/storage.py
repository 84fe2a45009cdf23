"""Files that may not be on a disk of this machine, such as those at gs://.

`etils.epath` reads and writes them. Only ArrayRecord needs a local disk: it gets a copy.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from etils import epath

from hmr_jax.io import atomic

Result = TypeVar("Result")


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is not on a disk of this machine."""
    return "://" in os.fspath(path)


def resolved(path: str | os.PathLike) -> epath.Path:
    """An absolute path without symbolic links; ~ is the home folder."""
    whole = epath.Path(path).expanduser()
    return whole if is_remote(whole) else whole.resolve()


def absolute(path: str | os.PathLike) -> epath.Path:
    """An absolute path whose symbolic links are not followed; ~ is the home folder."""
    whole = epath.Path(path).expanduser()
    return whole if is_remote(whole) else whole.absolute()


def local_copy(path: str | os.PathLike) -> str:
    """The path itself if it is on a disk, or else that of a copy, made once for all runs of this machine.

    Copies are under HMR_JAX_DATA_CACHE or ~/.cache/hmr_jax/data; a file of another size or time is copied anew.
    """
    if not is_remote(path):
        return os.fspath(path)
    remote = epath.Path(path)
    stat = remote.stat()
    home = os.environ.get("HMR_JAX_DATA_CACHE") or str(Path.home() / ".cache" / "hmr_jax" / "data")
    name = hashlib.sha256(f"{os.fspath(path)} {stat.length} {stat.mtime}".encode()).hexdigest()[:16]
    copy = epath.Path(home) / name / remote.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(copy) as part:
            remote.copy(part, overwrite=True)
    return os.fspath(copy)


def file_state(path: str | os.PathLike) -> str:
    """Size and time of a file; "" where there is none on a local disk."""
    if is_remote(path) or not os.path.isfile(path):
        return ""
    stat = os.stat(path)
    return f"{stat.st_size} {stat.st_mtime_ns}"


def kept_until_changed(files: int) -> Callable[[Callable[[epath.Path], Result]], Callable[[epath.Path], Result]]:
    """Decorates a reader of files: its last results are kept, each until the size or time of its file changes.

    Args:
        files: how many are kept.
    """

    def decorate(read: Callable[[epath.Path], Result]) -> Callable[[epath.Path], Result]:
        @functools.lru_cache(maxsize=files)
        def kept(path: epath.Path, state: str) -> Result:
            return read(path)

        @functools.wraps(read)
        def reader(path: epath.Path) -> Result:
            return kept(path, file_state(path))

        return reader

    return decorate
