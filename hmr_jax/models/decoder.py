"""The transformer decoder from SMPL query tokens and a feature map to output tokens.

It covers three rows of DeforHMR's ablation: one token with plain cross-attention (HMR2.0's head), many tokens with
plain cross-attention, and many tokens with deformable cross-attention (DeforHMR).

Shapes: B batch, T tokens of width D, H, W the feature map with C channels, L layers, G groups, N sampling points, M
landmarks of the encoder.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.config import DecoderConfig
from hmr_jax.models.attention import Attention
from hmr_jax.models.deformable import DeformableCrossAttention, Sampled
from hmr_jax.ops import Dense, gelu

LAYER_NORM_EPS = 1e-5


class DecoderLayer(nn.Module):
    """Self-attention over the tokens, cross-attention to the features, MLP; each with pre-norm and a residual."""

    config: DecoderConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: jax.Array, features: jax.Array, sampled: Sampled | None, more: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Sampled | None]:
        """Runs the layer.

        Args:
            tokens: (B, T, D).
            features: (B, H, W, C).
            sampled: what an earlier layer sampled, to use again; None: to be sampled here.
            more: (B, M, C) tokens to attend to beside the features, or None.
            train: dropout on.

        Returns:
            Tokens (B, T, D) and, with deformable attention, what was sampled.
        """
        config = self.config

        def norm(name):
            return nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name=name)

        def plain(name):  # only the output layer has a bias, as in HMR2.0
            return Attention(config.num_heads, config.head_dim, False, self.dtype, name=name)

        def drop(x):
            return nn.Dropout(config.dropout, deterministic=not train)(x)

        x = norm("self_norm")(tokens)
        tokens = tokens + drop(plain("self_attention")(x, x))
        x = norm("cross_norm")(tokens)
        if config.attention == "deformable":
            y, sampled = DeformableCrossAttention(
                config.num_heads, config.head_dim, config.dim, config.offset_groups, config.offset_kernel,
                config.offset_stride, config.offset_range, config.offset_grid,
                key_position_code=config.key_position_code, position_bias=config.position_bias,
                sampling=config.sampling, dtype=self.dtype, name="cross_attention",
            )(x, features, sampled, more)  # fmt: skip
        else:
            context = features.reshape(features.shape[0], -1, features.shape[-1])
            context = context if more is None else jnp.concatenate([context, more], 1)
            y = plain("cross_attention")(x, context)
        tokens = tokens + drop(y)
        x = norm("mlp_norm")(tokens)
        x = gelu(Dense(config.mlp_dim, dtype=self.dtype, name="fc1")(x))
        return tokens + drop(Dense(config.dim, dtype=self.dtype, name="fc2")(drop(x))), sampled


class Decoder(nn.Module):
    """Learned query tokens through `depth` layers."""

    config: DecoderConfig
    num_tokens: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: jax.Array,
        landmarks: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Runs all layers.

        Args:
            features: (B, H, W, C).
            landmarks: (B, M, K) what the encoder says of each of its landmarks, or None.
            train: dropout on.

        Returns:
            (B, T, D) tokens and, if deformable, sampling points (B, L, G, N, 2) in px of the map.
        """
        config = self.config
        if config.feature_dim:
            x = Dense(config.feature_dim, dtype=self.dtype, name="feature_proj")(features)
            features = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="feature_norm")(x)
        if train and config.feature_noise:
            noise = jax.random.normal(self.make_rng("dropout"), features.shape, features.dtype)
            features = features + config.feature_noise * noise
        if train and config.feature_drop:
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - config.feature_drop, (len(features), 1, 1, 1))
            features = features * kept
        more = None
        if landmarks is not None:
            more = LandmarkTokens(features.shape[-1], self.dtype, name="landmarks")(landmarks)
        queries = self.param("queries", nn.initializers.normal(0.02), (self.num_tokens, config.dim))
        tokens = jnp.broadcast_to(queries, (features.shape[0], *queries.shape)).astype(self.dtype)
        sampled: Sampled | None = None
        points = []
        for layer in range(config.depth):
            earlier = sampled if config.share_offsets else None
            tokens, sampled = DecoderLayer(config, self.dtype, name=f"layer_{layer}")(
                tokens, features, earlier, more, train
            )
            if sampled is not None:
                points.append(sampled.points)
        return tokens, jnp.stack(points, 1) if points else None


class LandmarkTokens(nn.Module):
    """A token of each landmark: its own linear map of what the encoder says of it, and a learned part."""

    dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, landmarks: jax.Array) -> jax.Array:
        """(B, M, K) -> (B, M, dim)."""
        count, width = landmarks.shape[1:]
        kernel = self.param("kernel", nn.initializers.normal(1.0), (count, width, self.dim))
        bias = self.param("bias", nn.initializers.normal(1.0), (count, self.dim))
        return (jnp.einsum("bmk,mkd->bmd", landmarks, kernel) + bias).astype(self.dtype)
