"""Convert published checkpoints to parameters, with NumPy only. The command is `python -m hmr_jax.weights.convert`."""

from hmr_jax.weights.depth_anything import convert_depth_anything
from hmr_jax.weights.detect import Converted, Options, convert_state
from hmr_jax.weights.hmr2 import convert_hmr2, convert_hmr2_head
from hmr_jax.weights.hrnet import convert_hrnet
from hmr_jax.weights.resnet import convert_resnet
from hmr_jax.weights.torch_files import read_torch_checkpoint
from hmr_jax.weights.vitpose import convert_vitpose

__all__ = [
    "Converted", "Options", "convert_depth_anything", "convert_hmr2", "convert_hmr2_head", "convert_hrnet",
    "convert_resnet", "convert_state", "convert_vitpose", "read_torch_checkpoint",
]  # fmt: skip
