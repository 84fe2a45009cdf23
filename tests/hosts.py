"""Processes that stand for hosts: each trains the tiny model on its share of the batches, and may be told to fail.

`python hosts.py FOLDER OPTIONS` is one of them; tests start and watch them by `Hosts`.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Hosts:
    """Processes that train together in a folder, or each in its own."""

    count: int
    folders: list[Path]
    options: dict = field(default_factory=dict)
    """Of `work`."""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def __enter__(self) -> "Hosts":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, self.folders[number % len(self.folders)], json.dumps(self.options)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=os.environ | {
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "JAX_PLATFORMS": "cpu",
                    "JAX_NUM_CPU_DEVICES": str(self.options.get("devices", 1)),
                    "JAX_COMPILATION_CACHE_DIR": os.environ.get("HMR_JAX_CACHE", ""),
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest",
                    "HMR_JAX_COORDINATOR": address, "HMR_JAX_PROCESSES": str(self.count),
                    "HMR_JAX_PROCESS": str(number),
                } | self.environment,
            )
            for number in range(self.count)
        ]  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def wait_until(self, reached, seconds: float = 240) -> None:
        """Waits for something that the processes do; fails if one of them ends before."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, "not reached in time"
            ended = [process for process in self.processes if process.poll() is not None]
            assert not ended, [process.communicate() for process in ended]
            time.sleep(0.005)

    def wait_for_step(self, step: int) -> None:
        """Waits until the log of the first folder has so many steps."""
        self.wait_until(lambda: len(rows(self.folders[0] / "tiny")) >= step)

    def results(self, seconds: float = 240) -> list[tuple[int, str, str]]:
        """Waits until all have ended; exit status, stdout and stderr of each."""
        deadline = time.monotonic() + seconds
        said = [process.communicate(timeout=max(0.1, deadline - time.monotonic())) for process in self.processes]
        return [(process.returncode, *texts) for process, texts in zip(self.processes, said, strict=True)]


def train_together(folder: Path, count: int, **options) -> list[tuple[int, str, str]]:
    """Trains with so many processes to the end; their results."""
    with Hosts(count, [folder], options) as hosts:
        return hosts.results()


def rows(run: Path) -> list[dict]:
    """The log of a run."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if (
        path.exists()
    ) else []  # fmt: skip


class Cable:
    """A TCP proxy between a process and the host that it connects to: what the first line names. It can be cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing gets through, and nobody is told: the connections stay open."""
        self._cut.set()

    def _accept(self) -> None:
        while True:
            near = self._listener.accept()[0]
            try:
                host, port = near.makefile("r", buffering=1, newline="\n").readline().split()
                far = socket.create_connection((host, int(port)))
                near.sendall(b"\n")  # now the other side may speak: the line above was read through a buffer
            except (OSError, ValueError):  # nobody listens there yet, or the process was killed
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        """Until one side ends; then the other side's connection ends too, unless the cable is cut."""
        with source:
            with contextlib.suppress(OSError):  # a process that is killed resets its connections
                while read := source.recv(65536):
                    if not self._cut.is_set():
                        target.sendall(read)
            if not self._cut.is_set():
                with contextlib.suppress(OSError):
                    target.shutdown(socket.SHUT_RDWR)  # its own thread closes it


def through_cable(port: int) -> None:
    """Lets this process watch over the others through the cable at a port."""
    from hmr_jax.distributed import connections

    direct = socket.create_connection

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        made = direct(("127.0.0.1", port), timeout)
        made.sendall("{} {}\n".format(*address).encode())
        if made.recv(1) != b"\n":
            made.close()
            raise ConnectionRefusedError("nobody listens at the other end of the cable")
        return made

    connections.socket.create_connection = connect


def work(folder: str, steps: int = 12, every: int = 4, pause: float = 0.0, devices: int = 1, fault: str = "",
         on: int = 1, at: int = 6, fsdp: int = 1, cable: int = 0) -> None:  # fmt: skip
    """One process.

    Args:
        folder: for the run.
        steps: of the run.
        every: steps between checkpoints.
        pause: seconds before each batch.
        devices: of this process.
        fault: what befalls the process `on` before step `at`: its data end with an "error", "stall" or are "nan", its
            disk is "full"; or from the beginning: its data are "late", or the folder is "read-only".
        on: see above.
        at: see above.
        fsdp: devices over which parameters are split.
        cable: port of a `Cable` between the other processes and the first one.
    """
    if cable:
        through_cable(cable)
    if fault == "read-only":
        respect_permissions()
    import jax
    import numpy as np
    import tiny

    from hmr_jax import distributed
    from hmr_jax.config import CheckpointConfig, MeshConfig
    from hmr_jax.training.loop import train

    distributed.initialize()
    own, share = jax.process_index(), 8 // jax.process_count()

    def batches(step: int):
        for number, batch in enumerate(tiny.source()(step), step):
            time.sleep(pause + 0.3 * (fault == "late" and own == on))
            if number == at and own == on:
                if fault == "error":
                    raise ValueError("record 7 of people.array_record is truncated.")
                if fault == "stall":
                    time.sleep(3600)
                if fault == "full":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
                if fault == "nan":
                    batch["betas"][own * share] = np.inf
            yield {name: array[own * share : (own + 1) * share] for name, array in batch.items()}

    mesh = MeshConfig(fsdp=fsdp, min_shard_size=64)
    train(
        tiny.config(folder, steps=steps, log_every=1, mesh=mesh, checkpoint=CheckpointConfig(every=every, keep=9)),
        batches,
    )


def respect_permissions() -> None:
    """Takes the right to write into read-only folders from root; others do not have it."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
        everything = 0xFFFFFFFF & ~(1 << 1)  # CAP_DAC_OVERRIDE
        sets = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.capget(header, sets) == 0
        for place in (0, 1):  # effective, permitted
            sets[place] &= everything
        assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    from hmr_jax import cli

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with cli.one_line_errors():
        work(sys.argv[1], **json.loads(sys.argv[2]))
