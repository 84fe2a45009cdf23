"""Images per second, and what the devices wait for: how much data they need, and which process is late with it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from hmr_jax import distributed

_NAMED = 0.1  # a process that waits for data for a larger share of the time than this is named
_KEEPS_UP = 0.02  # below this share the data are not what limits the speed


class Rates:
    """Measures from one line of the log to the next."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Args:
        say: takes what the first process says of its data.
        """
        self._say, self._measured, self._named = say, 0, -1
        self.restart()

    def restart(self) -> None:
        """Starts a new measurement; called after validation and saving, which do not count."""
        self._start, self._waited = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting_for_data(self, result: Any) -> Iterator[None]:
        """Times a wait for a batch; it does not count if the devices were still computing.

        Args:
            result: an array of the last step; None: it was read already.
        """
        entered = time.perf_counter()
        yield
        if result is None or result.is_ready():
            self._waited += time.perf_counter() - entered

    def of(self, images: int) -> dict[str, float]:
        """Rates since the last restart, for this many images of all processes; restarts.

        Returns:
            "images_per_second", and "data_wait": the share of the time in which the process that is latest with its
            data waited for them. The others are known from their last message, which is a few seconds old.
        """
        elapsed, waited = time.perf_counter() - self._start, self._waited
        self.restart()
        distributed.note_data_wait(waited / elapsed)
        self._measured += 1
        if self._measured == 2:  # the first time is that of compilation
            self._say(budget(images / jax.process_count(), elapsed, waited))
        waits = {process: at.data_wait for process, at in distributed.all_progress().items()}
        latest = max(waits, key=lambda process: waits[process])
        if len(waits) > 1 and waits[latest] > _NAMED and latest != self._named:
            self._named = latest
            others = max(wait for process, wait in waits.items() if process != latest)
            self._say(
                f"note: {distributed.label(latest)} waits for data for {waits[latest]:.0%} of the time, the others for "
                f"at most {others:.0%}."
            )
        return {"images_per_second": images / elapsed, "data_wait": waits[latest]}


def budget(images: float, elapsed: float, waited: float) -> str:
    """How many images per second the devices of a process need, and how many it makes, in a sentence.

    Args:
        images: of this process.
        elapsed: seconds in which they were trained on.
        waited: seconds of these in which the devices waited for data.
    """
    needed, made = images / max(elapsed - waited, 1e-9), images / elapsed
    if waited < _KEEPS_UP * elapsed:
        return f"data: this process needs {needed:.3g} images/s and makes at least as many."
    return f"data: this process needs {needed:.3g} images/s and makes {made:.3g}."
