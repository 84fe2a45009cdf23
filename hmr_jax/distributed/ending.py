"""How the processes of a run end together: after an error of one of them, or the loss of one."""

import atexit
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

import jax

from hmr_jax.distributed import connections
from hmr_jax.distributed.agreement import all_agree, gather_named
from hmr_jax.distributed.liveness import Progress, Watch

LOST = 76  # exit status of a process that ends because another one is lost; EX_PROTOCOL of sysexits.h
_MEETING = 20.0  # seconds for making the connections

_watch: Watch | None = None
_own = Progress()


def _nothing_known() -> str:
    return "Run the same command again."


_what_is_saved: Callable[[], str] = _nothing_known


def start_watch(reached_at: str, silence: float) -> None:
    """Connects the processes, all of which call it, and starts their watch.

    Args:
        reached_at: a name by which the user says that the first host is reached; "" if there is none.
        silence: seconds after which a process that says nothing is given up.
    """
    global _watch
    own, count = jax.process_index(), jax.process_count()
    listener, entrance = connections.listen(reached_at) if own == 0 else (None, None)
    said = {"host": socket.gethostname(), "entrance": entrance and vars(entrance)}
    heard = {process: json.loads(text) for process, text in gather_named([own], [json.dumps(said).encode()]).items()}
    if listener is not None and entrance is not None:
        made = connections.admit(listener, entrance.word, count - 1, _MEETING)
    else:
        first = connections.dial(connections.Entrance(**heard[0]["entrance"]), own, _MEETING)
        made = {} if first is None else {0: first}
    if not all_agree(len(made) == (count - 1 if own == 0 else 1)):
        for connection in made.values():
            connection.close()
        if own == 0:
            print(
                f"note: not all processes can connect to a port of {heard[0]['host']}, so the loss of one ends the "
                "others only after 100 s, with a message of JAX's: look at the firewall between the hosts.",
                file=sys.stderr,
            )
        return
    _watch = Watch(own, [heard[process]["host"] for process in range(count)], made, silence, _say, _end)
    _watch.progress = _own
    _watch.start()
    atexit.register(_at_exit)


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """An error that leaves this block on one process ends the others too, instead of leaving them waiting for ever."""
    try:
        yield
    except Exception as error:
        if _watch is not None:
            _watch.fail(" ".join(str(error).split())[:300] or type(error).__name__)
        raise


def note_progress(step: int, doing: str) -> Progress:
    """Notes what this process is doing from now on, for `all_progress`."""
    return _note(Progress(step, doing, data_wait=_own.data_wait))


def note_data_wait(share: float) -> None:
    """Notes in which share of the time this process has waited for data, for `all_progress`."""
    _note(replace(_own, data_wait=share))


def _note(progress: Progress) -> Progress:
    global _own
    _own = progress
    if _watch is not None:
        _watch.progress = _own
    return _own


def all_progress() -> dict[int, Progress]:
    """What the processes do, by number; only the first process knows of all."""
    return {jax.process_index(): _own} if _watch is None else _watch.all_progress()


def label(process: int) -> str:
    """How messages name a process: its number and its host."""
    return f"process {process} on host {socket.gethostname()}" if _watch is None else _watch.label(process)


def at_loss_say(what_is_saved: Callable[[], str]) -> None:
    """Sets what a process says besides if it ends because another one is lost: what is saved, and what to do."""
    global _what_is_saved
    _what_is_saved = what_is_saved


def give_up(why: str) -> None:
    """Ends all processes of the run soon, with exit status `LOST`."""
    if _watch is None:
        _say(why)
        _end()
    else:
        _watch.end_all(why)


def _say(why: str) -> None:
    # By the system's call, as another thread may hold the lock of sys.stderr; first what needs no disk.
    os.write(2, f"error: {why}; the run cannot go on. ".encode())
    os.write(2, f"{_what_is_saved()}\n".encode())


def _end() -> NoReturn:
    failed = 1 if hasattr(sys, "last_value") else 2  # 1 after a traceback, 2 after a message in one line
    os._exit(failed if _watch is not None and _watch.failing else LOST)


def _at_exit() -> None:
    """Runs before JAX's own function, which waits for all processes for minutes."""
    assert _watch is not None
    if not _watch.failing:
        _watch.leave()
        return
    _watch.await_others()
    sys.stdout.flush()
    sys.stderr.flush()
    _end()
