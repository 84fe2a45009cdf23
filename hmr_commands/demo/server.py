"""Starting and stopping the server."""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from typing import Any

import numpy as np
import uvicorn

from hmr_commands.demo.app import make_app
from hmr_commands.demo.guard import is_loopback
from hmr_commands.demo.limits import Limits
from hmr_commands.demo.storage import Storage
from hmr_commands.demo.worker import Progress, Worker
from hmr_jax.inference import Predictor

_PATIENCE = 20.0  # seconds for the computation that runs when the server is stopped
_OPEN_CONNECTIONS = 64


def bind(host: str, port: int) -> socket.socket:
    """A socket at a host and port; port 0 takes a free one.

    Raises:
        OSError: there is no such host, or the port cannot be had.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: give a number from 0 to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise OSError(f"--host {host}: this computer knows no such host.") from None
    made = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it lets two programs have one port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(128)  # at once: only then a port that is in use is noticed
    except OSError as error:
        made.close()
        reasons = {
            errno.EADDRINUSE: "is in use: stop the other program, or choose another with --port.",
            errno.EACCES: "may not be used: choose one above 1023 with --port.",
            errno.EADDRNOTAVAIL: f"cannot be had at {host}: it is no address of this computer.",
        }
        raise OSError(f"Port {port} {reasons.get(error.errno or 0, f'cannot be had: {error.strerror}.')}") from None
    return made


def address(made: socket.socket, host: str) -> str:
    """What to type into a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{made.getsockname()[1]}/"


def warm_up(predictor: Predictor, progress: Progress) -> dict[str, Any]:
    """Compiles the networks, so that the first image takes no longer than others."""
    progress("Compiling the networks")
    image = np.zeros((64, 64, 3), np.uint8)
    if predictor.detector is not None:
        predictor.detector(image)
    predictor([image], [np.array([[8, 8, 56, 56]])])
    return {}


def make_server(
    predictor: Predictor, storage: Storage, worker: Worker, limits: Limits, host: str = "127.0.0.1"
) -> uvicorn.Server:
    """A server, for `run(sockets=[...])`; the arguments are those of `make_app`."""
    config = uvicorn.Config(
        make_app(predictor, storage, worker, limits, host), ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, limit_concurrency=_OPEN_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    return uvicorn.Server(config)


def serve(predictor: Predictor, made: socket.socket, host: str, limits: Limits, show: bool = False) -> None:
    """Serves until the process is interrupted, and deletes all files then.

    Args:
        predictor: the network, with its detector.
        made: from `bind`.
        host: that was bound.
        limits: on requests.
        show: whether the page is opened in a browser.
    """
    storage, worker = Storage(limits.images, limits.keep_seconds), Worker(limits.waiting)
    try:
        worker.submit(lambda progress: warm_up(predictor, progress))
        url = address(made, host)
        print(f"The demo is at {url} (Ctrl-C stops it and deletes all uploaded files).", flush=True)
        if not is_loopback(host):
            print(
                f"warning: --host {host} lets every computer that can reach this one use the demo: there is no login.",
                file=sys.stderr,
                flush=True,
            )
        if show:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        with contextlib.suppress(KeyboardInterrupt):
            make_server(predictor, storage, worker, limits, host).run(sockets=[made])
    finally:
        ended = worker.stop(_PATIENCE)
        storage.close()
        print("Stopped; all uploaded files are deleted." if ended else "Stopped during a computation.", flush=True)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what is at its end is done."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in earlier.items():
            signal.signal(getattr(signal, name), handler)
