"""Batches made in the background of the training: by a thread that stays ahead, or by processes.

Processes are for machines with many cores. Threads share one interpreter lock, which a handful of cores saturates: the
compiled kernels release it, the NumPy code around them does not.
"""

import itertools
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from hmr_jax.batch import Batch

MakeBatch = Callable[[int], Batch]
AHEAD = 3  # batches that `Prefetch` keeps unless told otherwise


class BatchStream(Protocol):
    """Batches with threads or processes behind them, which `close` ends."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...

    def close(self) -> None: ...


def in_processes(make: Callable[[], MakeBatch], numbers: Iterable[int], processes: int) -> Generator[Batch, None, None]:
    """The batches with these numbers, in order, each made by one of several new processes.

    Args:
        make: makes the function that makes a batch; it is pickled and called once in each process.
        numbers: of the batches; may be endless.
        processes: how many.

    Raises:
        OSError: a process was killed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by the new processes when they import NumPy
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(make,))
    todo = iter(numbers)
    try:
        waiting = deque(executor.submit(_make_batch, number) for number in itertools.islice(todo, processes + 1))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(executor.submit(_make_batch, number) for number in itertools.islice(todo, 1))
            yield batch
    except BrokenProcessPool as error:
        raise OSError(
            "A process that makes batches was killed, probably for lack of memory: lower --data.processes."
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


_batch_of: MakeBatch | None = None


def _start(make: Callable[[], MakeBatch]) -> None:
    global _batch_of
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process when it has saved
    end_with_parent()
    _batch_of = make()


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _make_batch(number: int) -> Batch:
    assert _batch_of is not None
    return _batch_of(number)


class Prefetch(Iterator[Batch]):
    """Runs an iterator in a thread, some batches ahead; errors surface where the batch would have."""

    def __init__(self, batches: BatchStream, ahead: int = AHEAD):
        self._queue: queue.Queue = queue.Queue(ahead)
        self._stop = threading.Event()
        # The thread must not refer to self, or an abandoned iterator would never be collected.
        self._thread = threading.Thread(target=_fill, args=(batches, self._queue, self._stop), daemon=True)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._stop.is_set():
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._stop.set()
            raise item
        return item

    def close(self) -> None:
        """Stops making batches and ends the threads and processes behind them."""
        self._stop.set()
        self._thread.join()

    def __del__(self):
        self._stop.set()


def _fill(batches: BatchStream, ready: queue.Queue, stop: threading.Event) -> None:
    def put(item: Batch | Exception) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    try:
        for batch in batches:
            put(batch)
            if stop.is_set():
                break
        put(StopIteration())
    except Exception as error:
        put(error)
    finally:
        batches.close()
