"""D2A-HMR's silhouette decoder: tokens and image features to the person's mask.

Shapes: B batch, h, w the map of tokens, D token width, C channels of the image features, S stages.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.ops import Dense

GROUPS = 8  # of GroupNorm's channels


class SilhouetteDecoder(nn.Module):
    """Tokens and a 1x1 projection of the image features (the skip of the paper's figure) through stages, each of which
    doubles the side of the map."""

    channels: tuple[int, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, features: jax.Array) -> jax.Array:
        """(B, h w, D) tokens, (B, h, w, C) image features -> (B, 2^S h, 2^S w) logits, float32."""
        batch, height, width, _ = features.shape
        skip = Dense(tokens.shape[-1], dtype=self.dtype, name="skip")(features)
        x = jnp.concatenate([tokens.reshape(batch, height, width, -1), skip], -1)
        for stage, channels in enumerate(self.channels):
            # The 1x1 convolution and the bilinear enlargement commute; fewer channels first is cheaper.
            x = Dense(channels, dtype=self.dtype, name=f"reduce_{stage}")(x)
            x = jax.image.resize(x, (batch, 2 * x.shape[1], 2 * x.shape[2], channels), "linear")
            x = nn.Conv(channels, (3, 3), dtype=self.dtype, name=f"conv_{stage}")(x)
            x = nn.relu(nn.GroupNorm(min(GROUPS, channels), dtype=self.dtype, name=f"norm_{stage}")(x))
        return Dense(1, dtype=jnp.float32, name="logit")(x)[..., 0]
