"""One computation at a time, in a thread of its own; the others wait in a queue of limited length."""

import secrets
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Progress = Callable[[str], None]
"""Says what is being done."""
Work = Callable[[Progress], dict[str, Any]]
DELETED = "The image was deleted: choose it again."
FAILED = "The server could not finish this image; its terminal says why."


class QueueFull(Exception):
    """So many computations wait that no other is taken."""


@dataclass
class Job:
    """A computation."""

    work: Work
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    stage: str = ""
    """What is being done, in words."""
    result: dict[str, Any] | None = None
    error: str = ""
    """A sentence for the user."""
    ended: float = 0.0
    """`time.monotonic` when it ended."""


class Worker:
    """A thread and its queue."""

    def __init__(self, waiting: int):
        """Starts the thread.

        Args:
            waiting: computations that may wait.
        """
        self._limit = waiting
        self._queue: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._stopping = False
        # A daemon, so that a computation which does not end cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="hmr demo", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Job:
        """Puts a computation at the end of the queue.

        Args:
            work: called with a function that it tells what it is doing. Its ValueErrors are sentences for the user.

        Raises:
            QueueFull: no more may wait.
        """
        with self._changed:
            if len(self._queue) >= self._limit:
                raise QueueFull
            job = Job(work)
            self._queue.append(job)
            self._jobs[job.id] = job
            self._changed.notify()
        return job

    def get(self, name: str) -> Job:
        """The computation of this name; raises KeyError if there is none."""
        return self._jobs[name]

    def ahead(self, job: Job) -> int:
        """How many computations come before one that waits."""
        with self._changed:
            if job not in self._queue:
                return 0
            return self._queue.index(job) + sum(one.state == "running" for one in self._jobs.values())

    def forget(self, seconds: float) -> None:
        """Drops what ended longer ago than this."""
        with self._changed:
            oldest = time.monotonic() - seconds
            for job in [job for job in self._jobs.values() if job.ended and job.ended < oldest]:
                del self._jobs[job.id]

    def stop(self, seconds: float) -> bool:
        """Drops the queue and waits for what is running; whether it ended in time."""
        with self._changed:
            self._stopping = True
            self._queue.clear()
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                job = self._queue.popleft()
                job.state = "running"
            self._do(job)

    def _do(self, job: Job) -> None:
        def progress(stage: str) -> None:
            if self._stopping:
                raise ValueError("The server was stopped.")
            job.stage = stage

        try:
            job.result = job.work(progress)
            state: Literal["done", "failed"] = "done"
        except ValueError as error:
            job.error, state = str(error), "failed"
        except FileNotFoundError:  # as after the user's own wish, or to make room
            job.error, state = DELETED, "failed"
        except Exception:  # the client is told nothing of the program
            if not self._stopping:
                traceback.print_exc()
            job.error, state = FAILED, "failed"
        job.ended, job.state = time.monotonic(), state  # the state last: who reads it finds the rest
