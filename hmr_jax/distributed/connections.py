"""A star of TCP connections: every process of a run with the first one, on which they watch over each other.

Ports of JAX are not used. The first process listens at any free port; a secret word keeps strangers out.
"""

import contextlib
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WELCOME = b"welcome\n"
_TIMEOUT = 3.0  # seconds for one attempt to connect


@dataclass(frozen=True)
class Entrance:
    """Where the first process listens."""

    addresses: tuple[str, ...]
    """Names and IP addresses that may lead there, the most likely ones first."""
    port: int
    word: str
    """Known to the processes of the run alone."""


def listen(named: str = "") -> tuple[socket.socket, Entrance]:
    """Opens the entrance; `named` is a name by which the user says that the others reach this host, or ""."""
    if socket.has_dualstack_ipv6():
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    else:
        listener = socket.create_server(("", 0), backlog=1024)
    addresses = dict.fromkeys(filter(None, [named, _outgoing_address(), socket.gethostname(), *_own_addresses()]))
    return listener, Entrance(tuple(addresses), listener.getsockname()[1], secrets.token_hex(16))


def admit(listener: socket.socket, word: str, others: int, seconds: float) -> dict[int, socket.socket]:
    """Waits for the other processes at the entrance, and closes it.

    Args:
        listener: of `listen`.
        word: of the entrance; who does not know it is turned away.
        others: how many processes there are besides this one.
        seconds: to wait at most.

    Returns:
        The connections by the number of the process; those that did not come are missing.
    """
    connections: dict[int, socket.socket] = {}
    deadline = time.monotonic() + seconds
    with listener:
        while len(connections) < others and (left := deadline - time.monotonic()) > 0:
            listener.settimeout(left)
            with contextlib.suppress(OSError, ValueError):
                connection, _ = listener.accept()
                connection.settimeout(_TIMEOUT)
                said, process = _line(connection).split()
                if secrets.compare_digest(said, word) and 0 < int(process) <= others:
                    connection.sendall(_WELCOME)
                    connections[int(process)] = _ready(connection)
                else:
                    connection.close()
    return connections


def dial(entrance: Entrance, process: int, seconds: float) -> socket.socket | None:
    """The connection of a process with the first one; None if none of the addresses leads there in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for address in entrance.addresses:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((address, entrance.port), _TIMEOUT)
                connection.sendall(f"{entrance.word} {process}\n".encode())
                if _line(connection) == _WELCOME.decode().strip():
                    return _ready(connection)
                connection.close()
        time.sleep(0.2)
    return None


def _line(connection: socket.socket) -> str:
    """One line, byte by byte, as what follows it belongs to the watch."""
    read = b""
    while not read.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(read) > 100:
            raise OSError("no line")
        read += byte
    return read.decode(errors="replace").strip()


def _ready(connection: socket.socket) -> socket.socket:
    connection.settimeout(1.0)  # a write to a host that is cut off must not hold up the others
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _outgoing_address() -> str:
    """The address from which this host reaches others; connecting a datagram socket sends nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.255", 1))
        return str(probe.getsockname()[0])
    return ""


def _own_addresses() -> Sequence[Any]:
    with contextlib.suppress(OSError):
        return [item[4][0] for item in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)]
    return []
