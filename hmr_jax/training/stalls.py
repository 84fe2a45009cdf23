"""Steps that take far longer than usual: which process the others wait for, and the end of a run that hangs."""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import jax

from hmr_jax import distributed
from hmr_jax.distributed import Progress

DATA, COMPUTING, VALIDATING, SAVING = "waiting for data", "computing", "validating", "saving"
_TIMES = 10.0  # a step is unusual if it takes so many times the median; what is no step may take so much longer


class StallWatch:
    """Notes what this process does. The first process says so if a step does not end, and whom it waits for.

    HMR_JAX_STALL is the number of seconds from which a step may count as unusual. A step that has not ended after
    HMR_JAX_HANG seconds ends the run, as a collective operation that hangs cannot be interrupted. 0 turns either off.
    """

    def __init__(self, start: int, say: Callable[[str], None]):
        """Args:
        start: the first step, which includes compilation.
        say: takes the messages.

        Raises:
            ValueError: if one of the variables is no number of seconds.
        """
        self._start, self._say = start, say
        self._stall = distributed.seconds_from_environment("HMR_JAX_STALL", 60)
        self._hang = distributed.seconds_from_environment("HMR_JAX_HANG", 1800)
        self._durations: deque[float] = deque(maxlen=100)
        self._step_began = time.monotonic()
        self._at = Progress(start, "starting")
        self._over = threading.Event()

    def __enter__(self) -> "StallWatch":
        if jax.process_index() == 0 and (self._stall or self._hang):
            threading.Thread(target=self._watch, name="watch over steps", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def at(self, step: int, doing: str) -> None:
        """Notes that this process begins something."""
        before, self._at = self._at, distributed.note_progress(step, doing)
        if doing == DATA:
            if before.doing == COMPUTING and before.step > self._start:
                self._durations.append(self._at.since - self._step_began)
            self._step_began = self._at.since

    def _watch(self) -> None:
        tick = min(1.0, 0.25 * min(filter(None, (self._stall, self._hang))))
        at, waited, next_report = self._at, 0.0, 0.0
        before = time.monotonic()
        while not self._over.wait(tick):
            now = time.monotonic()
            if at is not self._at:
                at, waited, next_report = self._at, 0.0, 0.0
            waited += min(now - before, 2 * tick)  # time in which the whole process was stopped does not count
            before = now
            usual = statistics.median(self._durations) if self._durations else 0.0
            step = at.doing in (DATA, COMPUTING) and at.step > self._start
            stall, hang = (
                max(seconds, _TIMES * usual) if step else _TIMES * seconds for seconds in (self._stall, self._hang)
            )
            if self._stall and waited > max(stall, next_report):
                next_report = 2 * waited
                compared = f", {usual:.2g} s is usual" if step and usual else ""
                self._say(f"note: step {at.step} has been going on for {waited:.0f} s{compared}: {_whom()}.")
            if self._hang and waited > hang:
                distributed.give_up(f"step {at.step} has not ended for {waited:.0f} s: {_whom()}")


def _whom() -> str:
    return waited_for(distributed.all_progress(), time.monotonic())


def waited_for(progress: Mapping[int, Progress], now: float) -> str:
    """Whom the processes wait for: those that are behind, by name, or all.

    Args:
        progress: of the processes by number.
        now: seconds on the clock of `Progress.since`.
    """
    last = min(at.step for at in progress.values())
    behind = {process: at for process, at in progress.items() if at.step == last}
    behind = {process: at for process, at in behind.items() if at.doing != COMPUTING} or behind
    if len(behind) == len(progress) > 1 and len({at.doing for at in behind.values()}) == 1:
        return f"all {len(progress)} processes are {next(iter(behind.values())).doing}"
    named = [
        f"{distributed.label(process)} has been {at.doing} in step {at.step} for {now - at.since:.0f} s"
        for process, at in list(behind.items())[:3]
    ]
    more = f", and so have {len(behind) - 3} more" if len(behind) > 3 else ""
    return ", ".join(named) + more
