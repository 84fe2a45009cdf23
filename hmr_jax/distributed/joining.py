"""Joining the other processes of a run: named by hand, or found on a cluster."""

import os
from typing import Any

import jax

from hmr_jax.distributed.ending import start_watch

_BY_HAND = ("HMR_JAX_COORDINATOR", "HMR_JAX_PROCESSES", "HMR_JAX_PROCESS")
# Variables that name several processes, and those that merely exist on TPU pods.
_CLUSTER_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_TPU_VARIABLES = ("TPU_WORKER_HOSTNAMES", "MEGASCALE_COORDINATOR_ADDRESS")
_POD = "JOB_COMPLETION_INDEX"  # the number of a pod, set by Kubernetes in indexed jobs, and so in those of a JobSet
_JAXS_TIMEOUT = 100  # seconds until JAX itself takes a silent process for dead


def initialize(coordinator: str = "", process_count: int = 0, process_id: int = -1) -> None:
    """Joins the other processes of the run, if there are any; call it before a device is used.

    From then on the processes watch over each other: if one dies, the others end within seconds with exit status
    `LOST`, and with a sentence that names it.

    `HMR_JAX_COORDINATOR=host:port` with `HMR_JAX_PROCESSES` (their number) and `HMR_JAX_PROCESS` (this one's index)
    names them by hand, and so do the arguments, which come first. In indexed jobs of Kubernetes (a JobSet has such) the
    index is known; under srun, mpirun and on Cloud TPU pods JAX finds everything.

    Args:
        coordinator: "host:port", where the first process is reached by the others; "": see above.
        process_count: how many processes there are; 0: see above.
        process_id: number of this one, from 0; -1: see above.

    Raises:
        ValueError: one of the three is missing or is not what it should be, or HMR_JAX_SILENCE is no time.
    """
    silence = seconds_from_environment("HMR_JAX_SILENCE", 30)
    given = (coordinator, str(process_count or ""), str(process_id) if process_id >= 0 else "")
    named = {name: value or os.environ.get(name, "") for name, value in zip(_BY_HAND, given, strict=True)}
    options: dict[str, Any] = {"heartbeat_timeout_seconds": int(2 * silence)} if 2 * silence > _JAXS_TIMEOUT else {}
    host = ""
    if any(named.values()):
        named["HMR_JAX_PROCESS"] = named["HMR_JAX_PROCESS"] or os.environ.get(_POD, "")
        address, processes, process = named.values()
        host, _, port = address.rpartition(":")
        right = host and port.isdigit() and processes.isdigit() and process.isdigit()
        if not right or int(process) >= int(processes):
            said = ", ".join(f"{name}={value}" for name, value in named.items())
            raise ValueError(
                "Several processes need HMR_JAX_COORDINATOR=host:port, HMR_JAX_PROCESSES=N and HMR_JAX_PROCESS=I with "
                f"I from 0 to N - 1 (or --coordinator, --process-count and --process-id), not {said}."
            )
        jax.distributed.initialize(address, int(processes), int(process), **options)
    elif any(_number(name) > 1 for name in _CLUSTER_SIZES) or any(name in os.environ for name in _TPU_VARIABLES):
        jax.distributed.initialize(**options, **_all_gpus_of_the_node())
    if jax.distributed.is_initialized() and silence and jax.process_count() > 1:
        start_watch(host, silence)


def seconds_from_environment(variable: str, default: float) -> float:
    """A number of seconds that an environment variable gives; 0 stands for never.

    Raises:
        ValueError: if it is no such number.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{variable} is a number of seconds, or 0 for never, not {text}.")
    return seconds


def _all_gpus_of_the_node() -> dict[str, Any]:
    """Under srun with one process per node: all GPUs, where JAX would take the first one of each node only."""
    one_each = _number("SLURM_STEP_NUM_TASKS") == _number("SLURM_STEP_NUM_NODES") > 0
    gpus = _number("SLURM_GPUS_ON_NODE")
    return {"local_device_ids": list(range(gpus))} if one_each and gpus > 1 else {}


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0
