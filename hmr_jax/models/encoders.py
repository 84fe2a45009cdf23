"""Image encoders by name: crops to maps of features.

Shapes: B batch, S crop side, H, W the encoder's input, h, w its map, C channels of the features.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.config import EncoderConfig
from hmr_jax.geometry.crops import centre_columns
from hmr_jax.models.backbones.hrnet import HRNet
from hmr_jax.models.backbones.residual import ConvNorm
from hmr_jax.models.backbones.resnet import ResNet
from hmr_jax.models.backbones.vit import ViT
from hmr_jax.ops import normalize_imagenet


def normalize_crop(image: jax.Array, size: tuple[int, int]) -> jax.Array:
    """(B, S, S, 3) uint8 -> (B, H, W, 3) float32: the centre columns, normalised by ImageNet's statistics.

    Raises:
        ValueError: if the crop's side is not the height H.
    """
    height, width = size
    if image.shape[1:3] != (height, height):
        raise ValueError(
            f"The crops are {image.shape[1]}x{image.shape[2]} but the encoder takes the centre of {height}x{height}: "
            "set data.crop_size to the height of model.encoder.image_size."
        )
    image = centre_columns(image, width)
    return normalize_imagenet(image.astype(jnp.float32) / 255)


def build_encoder(
    config: EncoderConfig, attention: Literal["xla", "cudnn"], dtype: Any, name: str = "encoder", unroll: bool = False
) -> nn.Module:
    """A module from normalised images (B, H, W, 3) and `train` to features (B, h, w, C); for `unroll` see `ViT`."""
    if config.name == "vit":
        return ViT(
            config.dim, config.depth, config.num_heads, config.image_size, config.patch_size, config.mlp_ratio,
            config.drop_path, config.remat, attention, dtype, unroll, name=name,
        )  # fmt: skip
    makers = {
        "resnet50": lambda: ResNet(50, dtype, name=name),
        "resnet101": lambda: ResNet(101, dtype, name=name),
        "hrnet_w40": lambda: HRNet(40, dtype, name=name),
        "hrnet_w64": lambda: HRNet(64, dtype, name=name),
        "conv": lambda: ConvEncoder(config.dim, dtype, name=name),
    }
    return makers[config.name]()


class ConvEncoder(nn.Module):
    """Five 3x3 convolutions with BatchNorm, four of them with stride 2."""

    dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, 3) -> (B, H / 16, W / 16, dim)."""
        x = images
        for stage, (share, stride) in enumerate([(8, 2), (4, 2), (2, 2), (1, 2), (1, 1)]):
            x = ConvNorm(max(self.dim // share, 8), 3, stride, dtype=self.dtype, name=f"stage_{stage}")(x, train)
        return x
