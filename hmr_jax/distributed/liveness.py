"""The watch over the processes of a run: if one dies, the others end within seconds, with a sentence that names it.

A collective operation that waits for a dead process cannot be interrupted, and JAX notices after 100 s only. So every
process has a thread here and a connection with the first one. The kernel closes the connections of a process that is
killed; a process that is stopped, or cut off from the network, shows by its silence. The first process tells the
others. Whoever ends in order says so before.
"""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_GRACE = 3.0  # seconds for the own error, if another process ends with one: it may be the same
_FAREWELL = 2.0  # seconds for which the first process waits until the others have ended
_EXIT = 10.0  # seconds in which a process that has failed should have ended
_VERDICT = 1.0  # seconds after an error in which the loss of another process, which may be its cause, shows


@dataclass(frozen=True)
class Progress:
    """What a process is doing."""

    step: int = 0
    doing: str = "starting"
    since: float = field(default_factory=time.monotonic)
    """Seconds on the monotonic clock of the process that reads it."""
    data_wait: float = 0.0
    """Share of the time between its last two lines of the log in which it waited for data."""


@dataclass
class _Member:
    """Another process, as this one knows it."""

    heard: float
    progress: Progress
    gone: str = ""
    """"left" or "failed", if it said so."""
    rest: bytes = b""
    """The beginning of a message."""


class Watch(threading.Thread):
    """The thread of one process. `progress` may be set at any time, to be told to the first process."""

    def __init__(
        self,
        process: int,
        hosts: Sequence[str],
        connections: Mapping[int, socket.socket],
        silence: float,
        say: Callable[[str], None],
        end: Callable[[], None],
    ):
        """Args:
        process: number of this process.
        hosts: names of the hosts of all processes.
        connections: of the first process with all others, or of another one with the first.
        silence: seconds after which a process that says nothing is given up.
        say: is called with why this process ends.
        end: ends it; called after `say`, or if this process has failed but does not end.
        """
        super().__init__(name="watch over processes", daemon=True)
        self.progress = Progress()
        self._process, self._hosts, self._silence = process, hosts, silence
        self._say, self._end = say, end
        self._open = dict(connections)
        now = time.monotonic()
        self._members = {other: _Member(now, Progress()) for other in connections}
        self._beaten, self._verdict_at, self._verdict = now, float("inf"), ""
        self._failing, self._failing_until, self._ending = False, float("inf"), threading.Event()
        self._sending = threading.Lock()
        self._selector = selectors.DefaultSelector()
        for other, connection in connections.items():
            self._selector.register(connection, selectors.EVENT_READ, other)

    # ------------------------------------------------------------------------------- for the other threads

    def all_progress(self) -> dict[int, Progress]:
        """What all processes do, by number; only the first process knows of all."""
        return {self._process: self.progress} | {other: member.progress for other, member in self._members.items()}

    def leave(self) -> None:
        """Says goodbye: that this process ends, as it should."""
        self._tell({"kind": "left"})

    def fail(self, why: str) -> None:
        """Says that this process ends with an error; if another one's loss is the cause, that ends it instead."""
        if self._failing:
            return
        if self._ending.wait(_VERDICT):
            self.join()
        self._failing, self._failing_until = True, time.monotonic() + _EXIT
        self._tell({"kind": "failed", "process": self._process, "why": why})

    @property
    def failing(self) -> bool:
        """Whether this process has said that it ends with an error."""
        return self._failing

    def await_others(self) -> None:
        """Waits after `fail` until the others have ended, whose collective operations would fail without this one."""
        deadline = time.monotonic() + _GRACE + _FAREWELL
        while any(not self._members[other].gone for other in list(self._open)) and time.monotonic() < deadline:
            time.sleep(0.05)

    def end_all(self, sentence: str) -> None:
        """Ends all processes soon, as the run cannot go on."""
        self._verdict, self._verdict_at = sentence, 0.0

    # -------------------------------------------------------------------------------------- the thread itself

    def run(self) -> None:
        """Listens, tells the others that this process lives, and ends it if one of them is lost."""
        interval = min(5.0, self._silence / 5)
        while not self._ending.is_set():
            self._listen(interval / 5)
            now = time.monotonic()
            if now - self._beaten >= interval:
                self._beaten = now
                at = self.progress
                said = {"step": at.step, "doing": at.doing, "for": now - at.since, "data_wait": at.data_wait}
                self._tell({"kind": "beat", **said})
            for other in list(self._open):
                member = self._members[other]
                if now - member.heard > self._silence and not member.gone:
                    self._lose(other, f"has not answered for {self._silence:.0f} s: it hangs, or the network is cut")
            if now > self._failing_until:  # threads that wait for other processes may hold up the end of this one
                self._end()
            if now > self._verdict_at:
                self._end_with(self._verdict)

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            other, member = key.data, self._members[key.data]
            try:
                read = self._open[other].recv(65536)
            except TimeoutError:
                continue
            except OSError:
                read = b""
            if not read:
                self._selector.unregister(self._open[other])
                self._open.pop(other).close()
                if not member.gone:
                    self._lose(other, "has died: it was killed, or crashed")
                continue
            member.heard = time.monotonic()
            *lines, member.rest = (member.rest + read).split(b"\n")
            for line in lines:
                self._hear(other, json.loads(line))

    def _hear(self, other: int, message: dict[str, Any]) -> None:
        kind, member = message["kind"], self._members[other]
        if kind == "beat":
            since = time.monotonic() - message["for"]
            member.progress = Progress(message["step"], message["doing"], since, message["data_wait"])
        elif kind == "left":
            member.gone = "left"
        elif kind == "failed":
            if message["process"] == other:
                member.gone = "failed"
            self._tell(message, but=other)
            if not self._verdict:
                self._verdict_at = time.monotonic() + _GRACE
                self._verdict = f"{self.label(message['process'])} has ended with an error ({message['why']})"
        elif kind == "end":
            self._end_with(message["why"])

    def _lose(self, other: int, why: str) -> None:
        self._members[other].gone = "lost"
        self._end_with(self._verdict or f"{self.label(other)} {why}")

    def _end_with(self, why: str) -> None:
        if self._ending.is_set() or self._failing:  # the others end because of this process, which has said why
            return
        self._ending.set()
        self._say(why)
        self._tell({"kind": "end", "why": why})
        if self._process == 0:
            deadline = time.monotonic() + _FAREWELL
            while any(not self._members[other].gone for other in self._open) and time.monotonic() < deadline:
                self._listen(0.05)
        self._end()

    def label(self, process: int) -> str:
        """How messages name a process: its number and its host."""
        return f"process {process} on host {self._hosts[process]}"

    def _tell(self, message: dict[str, Any], but: int | None = None) -> None:
        """Sends a message to those with whom there is a connection; who cannot be reached is noticed elsewhere."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            for other, connection in list(self._open.items()):
                if other != but:
                    with contextlib.suppress(OSError):
                        connection.sendall(line)
