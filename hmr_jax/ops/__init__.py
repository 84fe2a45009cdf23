"""Linear layers, GELU, depth-wise convolution, sampling, warping and attention back ends."""

from hmr_jax.ops.activation import gelu
from hmr_jax.ops.attention import attend
from hmr_jax.ops.dense import Dense
from hmr_jax.ops.depthwise import depthwise_convolution
from hmr_jax.ops.imagenet import normalize_imagenet
from hmr_jax.ops.sampling import sample_points
from hmr_jax.ops.warping import warp_images

__all__ = ["Dense", "attend", "depthwise_convolution", "gelu", "normalize_imagenet", "sample_points", "warp_images"]
