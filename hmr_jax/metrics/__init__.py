"""Metrics as documented pure functions."""

from hmr_jax.metrics.angles import geodesic_angle, mpjae, pa_mpjae
from hmr_jax.metrics.dense import DENSE_METRICS, dense_errors
from hmr_jax.metrics.motion import acceleration_error
from hmr_jax.metrics.pose import (
    depth_error,
    mpjpe,
    pa_depth_error,
    pa_mpjpe,
    pa_pve,
    per_joint_error,
    pve,
    root_align,
    weighted_mean,
)
from hmr_jax.metrics.thresholds import auc, pck

__all__ = [
    "DENSE_METRICS",
    "acceleration_error",
    "auc",
    "dense_errors",
    "depth_error",
    "geodesic_angle",
    "mpjae",
    "mpjpe",
    "pa_depth_error",
    "pa_mpjae",
    "pa_mpjpe",
    "pa_pve",
    "pck",
    "per_joint_error",
    "pve",
    "root_align",
    "weighted_mean",
]
