"""Linear layers, sampling and attention back ends."""

from hmr_jax.ops.attention import attend
from hmr_jax.ops.dense import Dense
from hmr_jax.ops.sampling import sample_points

__all__ = ["Dense", "attend", "sample_points"]
