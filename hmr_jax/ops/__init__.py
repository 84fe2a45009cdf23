"""Sampling and attention back ends."""

from hmr_jax.ops.attention import attend
from hmr_jax.ops.depthwise import depthwise_convolution
from hmr_jax.ops.sampling import sample_points

__all__ = ["attend", "depthwise_convolution", "sample_points"]
