"""Sampling and attention back ends."""

from hmr_jax.ops.attention import attend
from hmr_jax.ops.sampling import sample_points

__all__ = ["attend", "sample_points"]
