"""ResNet-50 and ResNet-101 (He et al. 2016) as in torchvision, without pooling and classifier.

Shapes: B batch, H, W the image, h = H / 32, w = W / 32.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.models.backbones.residual import Bottleneck, ConvNorm

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottlenecks in each of the four layers."""


class ResNet(nn.Module):
    """Images to a map of 2048 features; running statistics are in the collection "batch_stats"."""

    depth: Literal[50, 101] = 50
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, 3) images, normalised by ImageNet's statistics -> (B, h, w, 2048).

        Raises:
            ValueError: for another depth.
        """
        if self.depth not in BLOCKS:
            raise ValueError(f"There is no ResNet-{self.depth}: use one of {', '.join(map(str, BLOCKS))}.")
        x = ConvNorm(64, 7, 2, dtype=self.dtype, name="conv1")(images, train)
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for layer, count in enumerate(BLOCKS[self.depth]):
            for i in range(count):
                stride = 2 if layer and not i else 1
                x = Bottleneck(64 * 2**layer, stride, self.dtype, name=f"layer{layer + 1}_{i}")(x, train)
        return x
