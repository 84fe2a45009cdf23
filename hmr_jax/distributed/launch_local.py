"""Several processes on this computer, as if they were hosts: python -m hmr_jax.distributed.launch_local

To try out what happens on a cluster: joining, splitting, signals, the death of a host.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Annotated

from tyro.conf import Positional, arg

from hmr_jax import cli


def main(
    command: Positional[Annotated[tuple[str, ...], arg(metavar="-- COMMAND...")]], processes: int = 2, devices: int = 1
) -> None:
    """Runs a Python command as several processes on this computer, as if each were a host with CPU devices.

    Each line of their output begins with the number of its process. SIGTERM and Ctrl-C go to all; `kill PID` with one
    of the printed numbers reaches one. The exit status is that of the first process that ends with another than 0.

    Args:
        command: what follows `python`, after two hyphens, e.g. `-- train.py --config quickstart`.
        processes: how many.
        devices: of each process.
    """
    if not command:
        raise ValueError("name a command behind two hyphens: -- train.py --config quickstart")
    if min(processes, devices) < 1:
        raise ValueError(f"--processes {processes} and --devices {devices} must be at least 1.")
    sys.exit(launch(command, processes, devices))


def launch(command: Sequence[str], processes: int, devices: int) -> int:
    """Runs `python COMMAND` as several processes that find each other; waits for all.

    Args:
        command: what follows `python`.
        processes: how many.
        devices: CPU devices of each process.

    Returns:
        The exit status of the first one that ends with another than 0, else 0; 128 + N if signal N killed it.
    """
    address = f"localhost:{_free_port()}"
    started = [
        subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {
                "HMR_JAX_COORDINATOR": address, "HMR_JAX_PROCESSES": str(processes), "HMR_JAX_PROCESS": str(number),
                "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONUNBUFFERED": "1",
            },
        )
        for number in range(processes)
    ]  # fmt: skip

    def pass_on(number: int, _: object) -> None:
        for process in started:
            process.send_signal(number)

    before = {handled: signal.signal(handled, pass_on) for handled in (signal.SIGTERM, signal.SIGINT)}
    print(f"processes {', '.join(str(process.pid) for process in started)}", file=sys.stderr, flush=True)
    failed: list[int] = []

    def wait(process: subprocess.Popen) -> None:
        if status := process.wait():
            failed.append(status if status > 0 else 128 - status)

    threads = [threading.Thread(target=wait, args=[process]) for process in started]
    for number, process in enumerate(started):
        assert process.stdout is not None
        assert process.stderr is not None
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            threads.append(threading.Thread(target=_copy, args=[number, source, target]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for handled, handler in before.items():
        signal.signal(handled, handler)
    return failed[0] if failed else 0


def _copy(number: int, source: IO[bytes], target: IO[str]) -> None:
    for line in source:
        target.write(f"[{number}] {line.decode(errors='replace')}")
        target.flush()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    cli.run(main, "python -m hmr_jax.distributed.launch_local")
