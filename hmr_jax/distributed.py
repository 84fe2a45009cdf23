"""Devices and hosts: processes, the ("data", "fsdp") mesh, who holds what, and what the hosts tell each other.

One program for one CPU, one GPU or a pod: `jax.jit` with shardings, the successor of pmap and pjit.
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

# Variables that clusters set and from which JAX finds the other processes by itself.
_CLUSTER_VARIABLES = ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "TPU_WORKER_HOSTNAMES", "MEGASCALE_COORDINATOR_ADDRESS")


def initialize() -> None:
    """Joins the other processes of the run, where there are any; call it before anything touches a device.

    `HMR_JAX_COORDINATOR=host:port` with `HMR_JAX_PROCESSES` and `HMR_JAX_PROCESS` names them by hand; on SLURM, Open
    MPI and Cloud TPU pods they are found.
    """
    coordinator = os.environ.get("HMR_JAX_COORDINATOR")
    if coordinator:
        jax.distributed.initialize(
            coordinator, int(os.environ["HMR_JAX_PROCESSES"]), int(os.environ["HMR_JAX_PROCESS"])
        )
    elif any(name in os.environ for name in _CLUSTER_VARIABLES):
        jax.distributed.initialize()


def make_mesh(config: MeshConfig, devices: list | None = None) -> Mesh:
    """All devices as ("data", "fsdp")."""
    devices = jax.devices() if devices is None else devices
    if len(devices) % config.fsdp:
        raise ValueError(f"mesh.fsdp = {config.fsdp} does not divide the {len(devices)} devices.")
    # Auto axes: with Explicit ones, the default of make_mesh, Linen's layers refuse sharded parameters.
    shape = (len(devices) // config.fsdp, config.fsdp)
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def parameter_sharding(mesh: Mesh, tree: Any, min_size: int) -> Any:
    """Tree of arrays or shapes -> tree of shardings: large ones split over "fsdp" along their largest axis.

    The leading axes of scanned blocks and of the optimiser's stacks are never split.
    """
    parts = mesh.shape["fsdp"]

    def place(path, leaf) -> NamedSharding:
        shape = leaf.shape
        first = sum(getattr(key, "key", None) in ("stacked", "blocks") for key in path)
        axes = [axis for axis in range(first, len(shape)) if shape[axis] % parts == 0]
        if parts == 1 or np.prod(shape) < min_size or not axes:
            return NamedSharding(mesh, PartitionSpec())
        spec: list[str | None] = [None] * len(shape)
        spec[max(axes, key=lambda axis: shape[axis])] = "fsdp"
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree_util.tree_map_with_path(place, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The batch axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def to_global(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """This process's slice of a batch -> the global batch on the devices, its crops cut there if they are not yet."""
    sharding = batch_sharding(mesh)
    rows = len(batch["index"]) * jax.process_count()
    if rows % mesh.size:
        raise ValueError(f"A batch of {rows} does not divide over {mesh.size} devices: change batch_size.")
    if jax.process_count() == 1:
        placed = jax.device_put(dict(batch), sharding)  # all arrays at once: a third faster
    else:
        placed = {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
    if "stored" in placed:
        stored, affine, gain, _ = (placed.pop(name) for name in STORED)
        placed["image"] = _warp(stored, affine, gain, int(batch["crop_size"][0]))
    return placed


_warp = jax.jit(warp_images, static_argnames="size")


def agree(value: int) -> int:
    """The first host's value, on every host."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(value)))


def gather_named(numbers: Sequence[int], texts: Sequence[bytes]) -> dict[int, bytes]:
    """Numbered byte strings of this host -> those of all hosts; every host must call it at the same place."""
    if jax.process_count() == 1:
        return dict(zip(numbers, texts, strict=True))
    from jax.experimental.multihost_utils import process_allgather

    mine = np.array([len(texts), max(map(len, texts), default=0)], np.int32)
    rows, width = np.max(process_allgather(mine), axis=0)
    ids = np.full(rows, -1, np.int32)
    sizes = np.zeros(rows, np.int32)
    letters = np.zeros((rows, width), np.uint8)
    for row, (number, text) in enumerate(zip(numbers, texts, strict=True)):
        ids[row], sizes[row] = number, len(text)
        letters[row, : len(text)] = np.frombuffer(text, np.uint8)
    ids, sizes, letters = (np.asarray(process_allgather(array)) for array in (ids, sizes, letters))
    return {
        int(number): letters[host, row, : sizes[host, row]].tobytes()
        for host in range(len(ids))
        for row, number in enumerate(ids[host])
        if number >= 0
    }
