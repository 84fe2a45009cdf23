"""Where arrays are: the ("data", "fsdp") mesh, shardings, and the ways onto the devices and back."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hmr_jax.batch import STORED, Batch
from hmr_jax.config import MeshConfig
from hmr_jax.ops import warp_images


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
