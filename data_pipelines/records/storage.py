"""Files that may not be on a disk of this machine, such as those at gs://.

`etils.epath` reads and writes them. Only ArrayRecord needs a local disk: it gets a copy.
"""

import hashlib
import os
from pathlib import Path

from etils import epath

from hmr_jax.io import atomic


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
