"""Uploads and their results: in one temporary folder, under names that cannot be guessed, for some minutes."""

import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Kept:
    """An upload, or the results of one."""

    id: str
    folder: Path
    parent: str | None = None
    """The upload that results are of."""
    used: float = 0.0
    """`time.monotonic` of the last use."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is known of it, such as the size of the image."""


class Storage:
    """What a server keeps; for several threads."""

    def __init__(self, images: int, keep_seconds: float):
        """Makes the folder.

        Args:
            images: uploads that are kept at the same time.
            keep_seconds: after its last use an upload is deleted by `sweep`.
        """
        self._images, self._keep_seconds = images, keep_seconds
        self._directory = tempfile.TemporaryDirectory(prefix="hmr_demo_", ignore_cleanup_errors=True)
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """In which everything is."""
        return Path(self._directory.name)

    def new(self, parent: Kept | None = None) -> Kept:
        """A new folder, of an upload or of its results, whose earlier results go; the oldest upload makes room.

        Raises:
            KeyError: the upload was deleted in the meantime.
        """
        name = secrets.token_urlsafe(18)
        made = Kept(name, self.folder / name, None if parent is None else parent.id, time.monotonic())
        with self._lock:
            if parent is not None:
                if parent.id not in self._kept:
                    raise KeyError(parent.id)
                for earlier in [one.id for one in self._kept.values() if one.parent == parent.id]:
                    self._remove(earlier)
            made.folder.mkdir(mode=0o700)
            self._kept[made.id] = made
            uploads = sorted((one for one in self._kept.values() if one.parent is None), key=lambda one: one.used)
            for old in uploads[: max(len(uploads) - self._images, 0)]:
                self._remove(old.id)
        return made

    def get(self, name: str) -> Kept:
        """What has this name; that is a use of it and of the upload that it is of.

        Raises:
            KeyError: there is nothing of this name, or no longer.
        """
        with self._lock:
            found = self._kept[name]
            for one in (found, self._kept.get(found.parent or "")):
                if one is not None:
                    one.used = time.monotonic()
            return found

    def remove(self, name: str) -> None:
        """Deletes an upload with its results, or results; nothing where there are none of this name."""
        with self._lock:
            self._remove(name)

    def sweep(self) -> None:
        """Deletes what was not used for long enough."""
        with self._lock:
            oldest = time.monotonic() - self._keep_seconds
            for name in [one.id for one in self._kept.values() if one.parent is None and one.used < oldest]:
                self._remove(name)

    def close(self) -> None:
        """Deletes everything, and the folder."""
        with self._lock:
            self._kept.clear()
            self._directory.cleanup()

    def _remove(self, name: str) -> None:
        for one in [one for one in self._kept.values() if name in (one.id, one.parent)]:
            del self._kept[one.id]
            shutil.rmtree(one.folder, ignore_errors=True)
