"""Devices and hosts: joining processes, the ("data", "fsdp") mesh, shardings, and agreement between hosts.

The same program, `jax.jit` with shardings, runs on one CPU, one GPU or a pod.
"""

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hmr_jax.batch import STORED, Batch
from hmr_jax.config import MeshConfig
from hmr_jax.ops import warp_images

_BY_HAND = ("HMR_JAX_COORDINATOR", "HMR_JAX_PROCESSES", "HMR_JAX_PROCESS")
# Variables that name several processes, and those that merely exist on TPU pods.
_CLUSTER_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_TPU_VARIABLES = ("TPU_WORKER_HOSTNAMES", "MEGASCALE_COORDINATOR_ADDRESS")


def initialize() -> None:
    """Joins the other processes of the run, if there are any; call it before a device is used.

    `HMR_JAX_COORDINATOR=host:port` with `HMR_JAX_PROCESSES` (their number) and `HMR_JAX_PROCESS` (this one's index)
    names them by hand; under srun, mpirun and on Cloud TPU pods JAX finds them.

    Raises:
        ValueError: one of the three variables is missing or is not what it should be.
    """
    named = {name: os.environ.get(name, "") for name in _BY_HAND}
    if any(named.values()):
        coordinator, processes, process = named.values()
        host, _, port = coordinator.rpartition(":")
        right = host and port.isdigit() and processes.isdigit() and process.isdigit()
        if not right or int(process) >= int(processes):
            said = ", ".join(f"{name}={value}" for name, value in named.items())
            raise ValueError(
                "Several processes need HMR_JAX_COORDINATOR=host:port, HMR_JAX_PROCESSES=N and HMR_JAX_PROCESS=I with "
                f"I from 0 to N - 1, not {said}."
            )
        jax.distributed.initialize(coordinator, int(processes), int(process))
    elif any(_number(name) > 1 for name in _CLUSTER_SIZES) or any(name in os.environ for name in _TPU_VARIABLES):
        jax.distributed.initialize()


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0


def make_mesh(config: MeshConfig, devices: list | None = None) -> Mesh:
    """Mesh of all devices with the axes ("data", "fsdp").

    Raises:
        ValueError: if `config.fsdp` does not divide their number.
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % config.fsdp:
        raise ValueError(f"mesh.fsdp = {config.fsdp} does not divide the {len(devices)} devices.")
    # Auto axes: with Explicit ones, the default of make_mesh, Linen's layers refuse sharded parameters.
    shape = (len(devices) // config.fsdp, config.fsdp)
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def parameter_sharding(mesh: Mesh, tree: Any, min_size: int) -> Any:
    """Tree of arrays or shapes -> tree of shardings.

    Arrays of at least `min_size` elements are split over "fsdp" along their largest axis that divides; the others are
    replicated. The leading axes of scanned blocks and of the optimiser's stacks are never split.
    """
    parts = mesh.shape["fsdp"]

    def sharding_of(path, leaf) -> NamedSharding:
        shape = leaf.shape
        first = sum(getattr(key, "key", None) in ("stacked", "blocks") for key in path)
        axes = [axis for axis in range(first, len(shape)) if shape[axis] % parts == 0]
        if parts == 1 or np.prod(shape) < min_size or not axes:
            return NamedSharding(mesh, PartitionSpec())
        spec: list[str | None] = [None] * len(shape)
        spec[max(axes, key=lambda axis: shape[axis])] = "fsdp"
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree_util.tree_map_with_path(sharding_of, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The batch axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def to_global(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """This process's slice of a batch -> the global batch on the devices, with crops cut there from "stored".

    Raises:
        ValueError: if the batch does not divide over the devices.
    """
    sharding = batch_sharding(mesh)
    rows = len(batch["index"]) * jax.process_count()
    if rows % mesh.size:
        raise ValueError(f"A batch of {rows} does not divide over {mesh.size} devices: change batch_size.")
    if jax.process_count() == 1:
        arrays = jax.device_put(dict(batch), sharding)  # all arrays at once: a third faster
    else:
        arrays = {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
    if "stored" in arrays:
        stored, affine, gain, _ = (arrays.pop(name) for name in STORED)
        arrays["image"] = _warp(stored, affine, gain, int(batch["crop_size"][0]))
    return arrays


_warp = jax.jit(warp_images, static_argnames="size")


def to_host(tree: Any, mesh: Mesh) -> Any:
    """Arrays on the devices, split or not -> NumPy arrays, on every host."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.device_get(jax.jit(lambda arrays: arrays, out_shardings=everywhere)(tree))


def agree(value: int) -> int:
    """The first host's value, on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(value)))


def all_agree(value: bool) -> bool:
    """Whether it is true on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.int32(value)).min())


def gather_named(numbers: Sequence[int], texts: Sequence[bytes]) -> dict[int, bytes]:
    """Numbered byte strings of this host -> those of all hosts; all hosts must make the same call."""
    if jax.process_count() == 1:
        return dict(zip(numbers, texts, strict=True))
    from jax.experimental.multihost_utils import process_allgather

    local = np.array([len(texts), max(map(len, texts), default=0)], np.int32)
    rows, width = np.max(process_allgather(local), axis=0)
    ids = np.full(rows, -1, np.int32)
    sizes = np.zeros(rows, np.int32)
    padded = np.zeros((rows, width), np.uint8)
    for row, (number, text) in enumerate(zip(numbers, texts, strict=True)):
        ids[row], sizes[row] = number, len(text)
        padded[row, : len(text)] = np.frombuffer(text, np.uint8)
    ids, sizes, padded = (np.asarray(process_allgather(array)) for array in (ids, sizes, padded))
    return {
        int(number): padded[host, row, : sizes[host, row]].tobytes()
        for host in range(len(ids))
        for row, number in enumerate(ids[host])
        if number >= 0
    }
