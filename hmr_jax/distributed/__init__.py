"""Devices and hosts: joining processes, watching over them, the mesh of devices, shardings, agreement between hosts.

The same program, `jax.jit` with shardings, runs on one CPU, one GPU or a pod.
"""

from hmr_jax.distributed.agreement import agree, all_agree, gather_named
from hmr_jax.distributed.ending import (
    LOST,
    all_progress,
    at_loss_say,
    ending_together,
    give_up,
    label,
    note_data_wait,
    note_progress,
)
from hmr_jax.distributed.joining import initialize, seconds_from_environment
from hmr_jax.distributed.liveness import Progress
from hmr_jax.distributed.placement import batch_sharding, make_mesh, parameter_sharding, to_global, to_host

__all__ = [
    "LOST",
    "Progress",
    "agree",
    "all_agree",
    "all_progress",
    "at_loss_say",
    "batch_sharding",
    "ending_together",
    "gather_named",
    "give_up",
    "initialize",
    "label",
    "make_mesh",
    "note_data_wait",
    "note_progress",
    "parameter_sharding",
    "seconds_from_environment",
    "to_global",
    "to_host",
]
