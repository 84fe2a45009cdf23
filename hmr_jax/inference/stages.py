"""How long each stage of a pipeline takes, over all its threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Seconds by stage. Stages of several threads overlap, so their sum can be more than the time that passed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.images = self.people = 0
        self._lock, self._start = threading.Lock(), time.perf_counter()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def count(self, people: int) -> None:
        """Counts an image with some people as done."""
        with self._lock:
            self.images += 1
            self.people += people

    def summary(self) -> str:
        """One line: images, people, the time that passed, and the seconds of each stage."""
        passed = time.perf_counter() - self._start
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        rates = f"{self.images / passed:.1f} images/s, {self.people / passed:.1f} people/s"
        return f"{self.images:,} images, {self.people:,} people in {passed:.1f} s ({rates}); seconds by stage: {parts}."
