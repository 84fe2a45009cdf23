"""Metrics as documented pure functions."""

from hmr_jax.metrics.pose import mpjpe, pa_mpjpe, per_joint_error, pve, root_align

__all__ = ["mpjpe", "pa_mpjpe", "per_joint_error", "pve", "root_align"]
