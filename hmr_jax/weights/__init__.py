"""Published checkpoints to parameter trees: NumPy only."""

from hmr_jax.weights.hmr2 import convert_hmr2, convert_hmr2_head
from hmr_jax.weights.hrnet import convert_hrnet
from hmr_jax.weights.resnet import convert_resnet
from hmr_jax.weights.vitpose import convert_vitpose

__all__ = ["convert_hmr2", "convert_hmr2_head", "convert_hrnet", "convert_resnet", "convert_vitpose"]
