"""Items that a thread makes while others are in use: the frames of a video, or the newest one of a camera."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
AHEAD = 4
"""Items that are there before they are asked for, at most."""


def ahead(items: Iterable[Item], count: int = AHEAD) -> Iterator[Item]:
    """The same items, the next ones of which are made while the last one is in use.

    Args:
        items: only one thread at a time asks for them.
        count: of items that wait, at most.

    Raises:
        Exception: what `items` raises, after the items before.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(count)
    stopped = threading.Event()

    def put(kind: str, value: Any = None) -> None:
        while not stopped.is_set():
            try:
                made.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end")
        except BaseException as error:  # raised where the items are used
            put("error", error)
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()


def newest(items: Iterable[Item]) -> Iterator[Item]:
    """The item that was made last, whenever one is asked for; those that nobody asked for in time are left out.

    Args:
        items: only one thread at a time asks for them.

    Raises:
        Exception: what `items` raises, after the item before.
    """
    last: list[Item] = []
    ended: list[BaseException | None] = []
    changed, stopped = threading.Condition(), threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                with changed:
                    last[:] = [item]
                    changed.notify()
                if stopped.is_set():
                    break
        except BaseException as raised:  # raised where the items are used
            error = raised
        with changed:
            ended.append(error)
            changed.notify()

    thread = threading.Thread(target=work, name="newest", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: last or ended)
                if not last:
                    if ended[0] is not None:
                        raise ended[0]
                    return
                item = last.pop()
            yield item
    finally:
        stopped.set()
        thread.join()
