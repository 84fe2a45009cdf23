"""DINOv2's vision transformer (Oquab et al. 2023), the encoder of Depth Anything.

Shapes: B batch, H, W the image, h, w the map of patches, N = 1 + h w tokens of width D, g the side of the trained map.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.models.backbones.vit import LAYER_NORM_EPS, Block
from hmr_jax.ops.bicubic import bicubic_matrix


class DinoV2(nn.Module):
    """Images to the outputs of some of the blocks."""

    dim: int
    depth: int
    num_heads: int
    taps: tuple[int, ...]
    """Blocks whose outputs are returned, from 0."""
    grid: int = 37
    """g: side of the square map that the position embedding was trained for."""
    patch_size: int = 14
    mlp_ratio: int = 4
    position_offset: float = 0.0
    """Added to the size of the map when the scale for resizing the position embedding is computed: 0.1 in the original
    code, 0 in transformers."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> list[jax.Array]:
        """(B, H, W, 3) normalised images, sides divisible by the patch -> (B, h, w, D) per tap, after the last norm."""
        patch = self.patch_size
        x = nn.Conv(self.dim, (patch, patch), patch, "VALID", dtype=self.dtype, name="patch_embed")(images)
        batch, height, width, _ = x.shape
        cls = self.param("cls_token", nn.initializers.normal(1e-6), (self.dim,))
        embedding = self.param("pos_embed", nn.initializers.truncated_normal(0.02), (1 + self.grid**2, self.dim))
        rest = resize_positions(embedding[1:].reshape(self.grid, self.grid, -1), (height, width), self.position_offset)
        x = x.reshape(batch, height * width, self.dim) + rest.reshape(-1, self.dim).astype(x.dtype)
        first = jnp.broadcast_to((cls + embedding[0]).astype(x.dtype), (batch, 1, self.dim))
        x = jnp.concatenate([first, x], 1)  # (B, N, D)
        norm = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="norm")
        features = []
        for index in range(max(self.taps) + 1):
            block = Block(
                self.dim, self.num_heads, self.mlp_ratio, dtype=self.dtype, layer_scale=True, name=f"block_{index}"
            )
            x = block(x, jnp.zeros(()), False)
            if index in self.taps:
                features.append(norm(x)[:, 1:].reshape(batch, height, width, self.dim))
        return features


def resize_positions(embedding: jax.Array, size: tuple[int, int], offset: float = 0.0) -> jax.Array:
    """(g, g, D) -> (h, w, D) by PyTorch's bicubic interpolation, without antialiasing.

    A map of the same size is returned unchanged for any offset, as in both implementations.
    """
    if tuple(embedding.shape[:2]) == size:
        return embedding
    rows, columns = (bicubic_matrix(g, n, (n + offset) / g) for g, n in zip(embedding.shape[:2], size, strict=True))
    return jnp.einsum("hi,wj,ijd->hwd", rows, columns, embedding.astype(jnp.float32), precision="highest")
