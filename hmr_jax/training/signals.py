"""Requests to save and stop: SIGTERM, as clusters send it, and Ctrl-C."""

import signal
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopSignals:
    """SIGTERM and the first SIGINT ask the loop to save and stop; a second SIGINT interrupts at once.

    With several hosts they stop after the same step, whichever of them got the signal: JAX passes a SIGTERM on and
    agrees on the step. The default is restored at the end of the context.
    """

    def __init__(self) -> None:
        self._requested = False
        self._old: dict[int, Any] = {}
        self._several = jax.process_count() > 1

    def __enter__(self) -> "StopSignals":
        # With several hosts SIGTERM is JAX's own: its handler tells the other hosts.
        for number in (signal.SIGINT,) if self._several else (signal.SIGTERM, signal.SIGINT):
            try:
                self._old[number] = signal.signal(number, self._request)
            except ValueError:  # not in the main thread: the caller handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _request(self, *_: object) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        if self._several:
            signal.raise_signal(signal.SIGTERM)

    def stop_at(self, step: int) -> bool:
        """Whether to stop after this many steps; called after every step, on every host."""
        return multihost_utils.reached_preemption_sync_point(step) if self._several else self._requested
