"""Depth Anything (Yang et al. 2024): a DINOv2 encoder and a DPT head that turn an image into inverse depth.

Shapes: B batch, H, W the image, h, w the map of patches, m, n any map, D the encoder's width, C channels, F the fusion
width.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.models.backbones.dinov2 import DinoV2


class ResidualUnit(nn.Module):
    """ReLU, convolution, ReLU, convolution, and the input added."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, m, n, F) -> the same."""
        y = nn.Conv(self.features, (3, 3), dtype=self.dtype, name="conv1")(nn.relu(x))
        return x + nn.Conv(self.features, (3, 3), dtype=self.dtype, name="conv2")(nn.relu(y))


class Fusion(nn.Module):
    """Adds the next finer map to the result of the coarser ones, and enlarges the sum."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, finer: jax.Array | None, size: tuple[int, int]) -> jax.Array:
        """(B, m, n, F), and the same or None -> (B, *size, F)."""
        if finer is not None:
            x = x + ResidualUnit(self.features, self.dtype, name="unit1")(finer)
        x = ResidualUnit(self.features, self.dtype, name="unit2")(x)
        # A 1x1 convolution and an interpolation commute; before the enlargement there are fewer pixels.
        x = nn.Conv(self.features, (1, 1), dtype=self.dtype, name="out")(x)
        return resize_bilinear(x, size)


class DPTHead(nn.Module):
    """Turns four feature maps of the encoder into one map of the image's size."""

    config: DepthAnythingConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: list[jax.Array]) -> jax.Array:
        """Four maps (B, h, w, D) -> (B, H, W) float32, not negative."""
        config, dtype = self.config, self.dtype
        height, width = features[0].shape[1:3]

        def conv(channels, size, name, **options):
            return nn.Conv(channels, (size, size), dtype=dtype, name=name, **options)

        maps = []
        for stage, (x, channels) in enumerate(zip(features, config.neck_dims, strict=True)):
            x = conv(channels, 1, f"project_{stage}")(x)
            if stage < 2:
                x = Enlarge(channels, (4, 2)[stage], dtype, name=f"resize_{stage}")(x)
            elif stage == 3:
                x = conv(channels, 3, f"resize_{stage}", strides=2, padding=1)(x)
            maps.append(conv(config.fusion_dim, 3, f"reduce_{stage}", use_bias=False)(x))

        x = maps.pop()
        x = Fusion(config.fusion_dim, dtype, name="fuse_3")(x, None, maps[-1].shape[1:3])
        for stage in (2, 1, 0):
            finer = maps.pop()
            size = maps[-1].shape[1:3] if maps else (2 * x.shape[1], 2 * x.shape[2])
            x = Fusion(config.fusion_dim, dtype, name=f"fuse_{stage}")(x, finer, size)
        x = conv(config.fusion_dim // 2, 3, "output1")(x)
        x = resize_bilinear(x, (height * config.patch_size, width * config.patch_size))
        x = nn.relu(conv(config.head_dim, 3, "output2")(x))
        x = conv(1, 1, "output3")(x)[..., 0].astype(jnp.float32)
        return nn.sigmoid(x) * config.max_depth if config.max_depth else nn.relu(x)


class DepthAnything(nn.Module):
    """Estimates depth maps from images."""

    config: DepthAnythingConfig
    dtype: Any = jnp.float32
    """Computation type of the encoder; the head computes in float32."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """(B, H, W, 3) normalised by ImageNet's statistics, sides divisible by the patch -> (B, H, W) float32.

        The values are inverse depth without a unit, larger is nearer; or metres, if `config.max_depth` is set.
        """
        config = self.config
        features = DinoV2(
            config.dim, config.depth, config.num_heads, config.taps, config.grid, config.patch_size, config.mlp_ratio,
            config.position_offset, self.dtype, name="encoder",
        )(images)  # fmt: skip
        # In bfloat16 the map would show steps.
        return DPTHead(config, name="head")([x.astype(jnp.float32) for x in features])


class Enlarge(nn.Module):
    """A transposed convolution whose kernel is as large as its stride: every cell becomes a block of cells."""

    features: int
    factor: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, h, w, C) -> (B, factor h, factor w, features)."""
        factor, channels = self.factor, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (factor, factor, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
        batch, height, width, _ = x.shape
        x = jnp.einsum("bhwc,ijcf->bhiwjf", x, kernel)
        return x.reshape(batch, height * factor, width * factor, self.features) + bias


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """(B, m, n, C) -> (B, *size, C), with corners aligned (PyTorch's align_corners=True)."""
    for axis, target in zip((1, 2), size, strict=True):
        source = x.shape[axis]
        if target == source:
            continue
        positions = np.arange(target) * ((source - 1) / max(target - 1, 1))
        low = np.minimum(np.floor(positions).astype(int), source - 1)
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        weight = (positions - low).astype(np.float32).reshape(shape).astype(x.dtype)
        lower, upper = jnp.take(x, low, axis), jnp.take(x, np.minimum(low + 1, source - 1), axis)
        x = lower + (upper - lower) * weight
    return x
