"""D2A-HMR's two-stream transformer encoder: image tokens attend to depth tokens (Bright et al., CRV 2024).

The paper's figure fixes the order (self-attention per stream, cross-attention from image to depth, gated fusion of
three, MLP). Sizes, position embedding and the gate's formula are decisions of this project.

Shapes: B batch, h, w the map, N = h w tokens of width D, C channels of the features, L blocks. A prime marks depth.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.config import D2AConfig
from hmr_jax.models.attention import Attention
from hmr_jax.models.deformable import sine_position_code
from hmr_jax.ops import Dense, gelu

LAYER_NORM_EPS = 1e-6
NUM_GATES = 3  # image, image attending to depth, depth


class Feedforward(nn.Module):
    """Two linear layers with GELU and dropout between them."""

    hidden: int
    dropout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(B, N, D) -> (B, N, D)."""
        y = gelu(Dense(self.hidden, dtype=self.dtype, name="fc1")(x))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return Dense(x.shape[-1], dtype=self.dtype, name="fc2")(y)


class HybridPosition(nn.Module):
    """Position embedding: fixed sines, plus a learned vector per position, plus a learned vector per modality."""

    dim: int

    @nn.compact
    def __call__(self, grid: tuple[int, int]) -> jax.Array:
        """Height and width of the map -> (N, D) float32."""
        height, width = grid
        y, x = jnp.meshgrid(jnp.linspace(0, 1, height), jnp.linspace(0, 1, width), indexing="ij")
        sine = sine_position_code(jnp.stack([x, y], -1).reshape(1, -1, 2), self.dim)[0]
        learned = self.param("learned", nn.initializers.normal(0.02), (height * width, self.dim))
        modality = self.param("modality", nn.initializers.normal(0.02), (1, self.dim))
        return sine + learned + modality


class GatedFusion(nn.Module):
    """Fuses three tokens into one: image, image that attended to depth, depth."""

    kind: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, attended: jax.Array, depth: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(B, N, D) three times -> (B, N, D) and the gates (B, N, 3) float32.

        "softmax": shares that sum to 1 and start at 0.79, 0.11, 0.11. "sigmoid": image + g * attended, with a gate g
        per channel; the returned gates are then 1, the mean of g, and 0.
        """
        streams = (image, attended, depth)
        normed = [
            nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name=f"norm_{name}")(x)
            for name, x in zip(("image", "attended", "depth"), streams, strict=True)
        ]
        joined = jnp.concatenate(normed, -1)
        if self.kind == "sigmoid":
            gate = nn.sigmoid(Dense(image.shape[-1], dtype=jnp.float32, name="gate")(joined))
            mean = gate.mean(-1)
            return image + gate.astype(self.dtype) * attended, jnp.stack(
                [jnp.ones_like(mean), mean, jnp.zeros_like(mean)], -1
            )

        def bias(*_):
            return jnp.array([2.0, 0.0, 0.0])

        logits = Dense(
            NUM_GATES, dtype=jnp.float32, kernel_init=nn.initializers.normal(0.01), bias_init=bias, name="gate"
        )(joined)
        gates = nn.softmax(logits)
        shares = jnp.split(gates.astype(self.dtype), NUM_GATES, -1)
        return shares[0] * image + shares[1] * attended + shares[2] * depth, gates


class FusionBlock(nn.Module):
    """Self-attention in each stream, cross-attention from image to depth, gated fusion, MLP."""

    config: D2AConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, depth: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(B, N, D) tokens of both streams -> fused tokens, depth tokens (B, N, D), gates (B, N, 3)."""
        config = self.config

        def norm(x, name):
            return nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name=name)(x)

        def drop(x):
            return nn.Dropout(config.dropout, deterministic=not train)(x)

        def attention(name):
            return Attention(config.num_heads, dtype=self.dtype, name=name)

        x = norm(image, "image_norm")
        image = image + drop(attention("image_attention")(x, x))
        x = norm(depth, "depth_norm")
        depth = depth + drop(attention("depth_attention")(x, x))
        attended = attention("cross_attention")(norm(image, "query_norm"), norm(depth, "context_norm"))
        fused, gates = GatedFusion(config.gate, self.dtype, name="fusion")(image, drop(attended), depth)
        y = Feedforward(config.mlp_dim, config.dropout, self.dtype, name="mlp")(norm(fused, "mlp_norm"), train)
        return fused + drop(y), depth, gates


class DepthFusion(nn.Module):
    """Turns feature maps of image and depth into fused tokens."""

    config: D2AConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, depth: jax.Array | None, has_depth: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Embeds both maps and runs the blocks.

        Args:
            image: (B, h, w, C) features.
            depth: (B, h', w', C') features, resized to the image's map if needed; None: no sample has any.
            has_depth: (B,) 1 where the sample has depth; elsewhere a learned vector replaces its features.
            train: dropout and masking on.

        Returns:
            Tokens (B, N, D) and the gates of all blocks (B, L, h, w, 3).
        """
        config = self.config
        batch, height, width, _ = image.shape
        tokens = Dense(config.dim, dtype=self.dtype, name="image_embed")(image).reshape(batch, -1, config.dim)
        if config.mask_at == "input":
            tokens = MaskTokens(config.mask_ratio, name="mask")(tokens, train)
        tokens = tokens + HybridPosition(config.dim, name="image_position")((height, width)).astype(self.dtype)

        missing = self.param("no_depth", nn.initializers.normal(0.02), (1, 1, config.dim)).astype(self.dtype)
        missing = jnp.broadcast_to(missing, tokens.shape)
        if depth is None:
            depth_tokens = missing
        else:
            depth = resize_map(depth, (height, width))
            depth_tokens = Dense(config.dim, dtype=self.dtype, name="depth_embed")(depth)
            depth_tokens = depth_tokens.reshape(batch, -1, config.dim)
            depth_tokens = jnp.where(has_depth[:, None, None] > 0, depth_tokens, missing)
        position = HybridPosition(config.dim, name="depth_position")((height, width))
        depth_tokens = depth_tokens + position.astype(self.dtype)

        all_gates = []
        for number in range(config.depth):
            block = FusionBlock(config, self.dtype, name=f"block_{number}")
            tokens, depth_tokens, gates = block(tokens, depth_tokens, train)
            all_gates.append(gates)
        tokens = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="norm")(tokens)
        if config.mask_at == "output":
            tokens = MaskTokens(config.mask_ratio, name="mask")(tokens, train)
        return tokens, jnp.stack(all_gates, 1).reshape(batch, config.depth, height, width, NUM_GATES)


class MaskTokens(nn.Module):
    """Masked modelling: in training a random part of the tokens is replaced by one learned vector.

    METRO's rule: a share u * `ratio` of each sample's tokens, u uniform in [0, 1), drawn from the "dropout" stream.
    """

    ratio: float

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        """(B, N, D) -> (B, N, D)."""
        vector = self.param("vector", nn.initializers.normal(0.02), (1, 1, tokens.shape[-1])).astype(tokens.dtype)
        if not train or not self.ratio or not self.has_rng("dropout"):
            return tokens
        batch, count, _ = tokens.shape
        amount_key, order_key = jax.random.split(self.make_rng("dropout"))
        amount = jnp.floor(jax.random.uniform(amount_key, (batch, 1)) * self.ratio * count)
        rank = jnp.argsort(jax.random.uniform(order_key, (batch, count)), -1)  # a random permutation
        return jnp.where((rank < amount)[..., None], vector, tokens)


def resize_map(features: jax.Array, grid: tuple[int, ...]) -> jax.Array:
    """(B, h', w', C) -> (B, *grid, C), bilinear; unchanged if it has that size."""
    if features.shape[1:3] == grid:
        return features
    return jax.image.resize(features, (features.shape[0], *grid, features.shape[-1]), "linear")
