"""Linear layers, sampling, warping and attention back ends."""

from hmr_jax.ops.attention import attend
from hmr_jax.ops.dense import Dense
from hmr_jax.ops.sampling import sample_points
from hmr_jax.ops.warping import warp_images

__all__ = ["Dense", "attend", "sample_points", "warp_images"]
