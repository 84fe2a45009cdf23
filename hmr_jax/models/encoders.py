"""Image encoders by name: crops to maps of features.

Shapes: B batch, S crop side, H, W the encoder's input, h, w its map, C channels of the features.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import Batch
from hmr_jax.config import EncoderConfig, ModelConfig
from hmr_jax.geometry.crops import centre_columns
from hmr_jax.models.backbones.hrnet import HRNet
from hmr_jax.models.backbones.residual import ConvNorm
from hmr_jax.models.backbones.resnet import ResNet
from hmr_jax.models.backbones.vit import ViT
from hmr_jax.models.pyramid import BlazePoseEncoder, Encoded
from hmr_jax.ops import normalize_imagenet

BLAZEPOSE = "blazepose_"
"""Names of encoders that begin like this end in a variant of BlazePose."""


def encode(batch: Batch, config: ModelConfig, dtype: Any, unroll: bool, train: bool) -> Encoded:
    """What the model's encoder says of a batch's crops; called in the model's `__call__`, whose group "encoder" it is.

    Args:
        batch: "image" (B, S, S, 3) uint8; or "features" and "landmarks", which the encoder computed earlier.
        config: of the model.
        dtype: of the computation.
        unroll: see `ViT`.
        train: whether the encoder is trained.
    """
    if "features" in batch:
        return Encoded(batch["features"].astype(dtype), batch.get("landmarks"))
    images = normalize_crop(batch["image"], config.encoder)
    encoded = build_encoder(config.encoder, config.attention, dtype, unroll=unroll)(images, train)
    return encoded if isinstance(encoded, Encoded) else Encoded(encoded)


class EncoderAlone(nn.Module):
    """A model's encoder without the rest, on the parameters of its group "encoder"."""

    config: ModelConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> Encoded:
        """(B, S, S, 3) uint8 crops -> what the encoder says of them."""
        unroll = jax.default_backend() == "cpu"
        return encode({"image": images}, self.config, self.dtype, unroll, train=False)


def encoded_zeros(config: ModelConfig, crop_size: int) -> dict[str, np.ndarray]:
    """ "features" and "landmarks" of one crop, all zero: initial parameters made with them have no group "encoder"."""
    crop = jax.ShapeDtypeStruct((1, crop_size, crop_size, 3), jnp.uint8)
    shapes, _ = jax.eval_shape(EncoderAlone(config).init_with_output, jax.random.key(0), crop)
    found = {name: shape for name, shape in shapes._asdict().items() if shape is not None}
    return {name: np.zeros(shape.shape, shape.dtype) for name, shape in found.items()}


def finds_landmarks(config: EncoderConfig) -> bool:
    """Whether an encoder says where the landmarks of bodies are."""
    return config.name.startswith(BLAZEPOSE)


def normalize_crop(image: jax.Array, encoder: EncoderConfig) -> jax.Array:
    """(B, S, S, 3) uint8 -> (B, H, W, 3) float32: the centre columns, as the encoder takes them.

    BlazePose takes colours in [0, 1], the other encoders take them normalised by ImageNet's statistics.

    Raises:
        ValueError: if the crop's side is not the height H.
    """
    height, width = encoder.image_size
    if image.shape[1:3] != (height, height):
        raise ValueError(
            f"The crops are {image.shape[1]}x{image.shape[2]} but the encoder takes the centre of {height}x{height}: "
            "set data.crop_size to the height of model.encoder.image_size."
        )
    colors = centre_columns(image, width).astype(jnp.float32) / 255
    return colors if finds_landmarks(encoder) else normalize_imagenet(colors)


def build_encoder(
    config: EncoderConfig, attention: Literal["xla", "cudnn"], dtype: Any, name: str = "encoder", unroll: bool = False
) -> nn.Module:
    """A module from normalised images (B, H, W, 3) and `train` to features (B, h, w, C), or `Encoded` with landmarks.

    For `unroll` see `ViT`.
    """
    if finds_landmarks(config):
        return BlazePoseEncoder(config.name.removeprefix(BLAZEPOSE), config.maps, config.map_stride, dtype, name=name)
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
