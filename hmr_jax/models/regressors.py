"""D2A-HMR's regressor: fused tokens and the depth features beside them to a mesh or to body parameters.

Shapes: B batch, N fused tokens of width D, T output tokens, C coarse vertices, K the 14 joints.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body import BodyModel, CoarseMesh
from hmr_jax.body.coarse import NUM_COARSE
from hmr_jax.body.joints import EVALUATION_14_OF_44, PELVIS_44
from hmr_jax.config import D2AConfig
from hmr_jax.models.attention import Attention
from hmr_jax.models.depth_fusion import LAYER_NORM_EPS, Feedforward
from hmr_jax.models.heads import MEAN_CAMERA, to_scale
from hmr_jax.ops import Dense, gelu

NUM_HEAD_JOINTS = len(EVALUATION_14_OF_44)
_TO_CAMERA = np.array([1, -1, -1], np.float32)  # from y up, z forward of the body to y down, z away from the camera


class TokenRegressor(nn.Module):
    """Mixes N tokens into T by a linear map over the token axis, as METRO does; then transformer layers."""

    config: D2AConfig
    num_tokens: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, positions: np.ndarray | None, train: bool) -> jax.Array:
        """(B, N, D) tokens and the position of each output token (T, 3), metres, or None -> (B, T, head_dim)."""
        config = self.config
        x = Dense(config.head_dim, dtype=self.dtype, name="reduce")(tokens)
        x = gelu(x)
        init = nn.initializers.lecun_normal() if positions is None else _smooth_init(positions)
        mix = Dense(self.num_tokens, kernel_init=init, dtype=self.dtype, name="mix")
        x = jnp.swapaxes(mix(jnp.swapaxes(x, 1, 2)), 1, 2)
        if positions is None:
            identity = self.param("identity", nn.initializers.normal(0.02), (self.num_tokens, config.head_dim))
            x = x + identity.astype(self.dtype)
        else:
            known = jnp.broadcast_to(jnp.asarray(positions, self.dtype), (x.shape[0], *positions.shape))
            x = Dense(config.head_dim, dtype=self.dtype, name="place")(jnp.concatenate([x, known], -1))

        def norm(x, name):
            return nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name=name)(x)

        for layer in range(config.head_depth):
            y = norm(x, f"attention_norm_{layer}")
            x = x + Attention(config.head_heads, dtype=self.dtype, name=f"attention_{layer}")(y, y)
            y = norm(x, f"mlp_norm_{layer}")
            x = x + Feedforward(2 * config.head_dim, config.dropout, self.dtype, name=f"mlp_{layer}")(y, train)
        return norm(x, "norm")


def _smooth_init(positions: np.ndarray, waves: int = 32, frequency: float = 3.0) -> Callable[..., jax.Array]:
    """Initialiser of a kernel (N, T) whose columns vary smoothly with the position (T, 3) of the output, metres.

    With independent columns neighbouring vertices would start far apart, and stay so for long.
    """
    rng = np.random.default_rng(0)
    phases = positions @ rng.normal(0, frequency, (3, waves)) + rng.uniform(0, 2 * np.pi, waves)
    code = np.cos(phases).T * np.sqrt(2 / waves)  # (waves, T): random Fourier features

    def init(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
        return (jax.random.normal(key, (shape[0], waves)) / np.sqrt(shape[0]) @ code.astype(np.float32)).astype(dtype)

    return init


class VertexHead(nn.Module):
    """Predicts positions of 14 joints and of the coarse vertices, the scales of their errors, and a camera."""

    config: D2AConfig
    template: np.ndarray
    """(K + C, 3) of a body that faces the camera, metres, pelvis at the origin."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(B, N, D) -> points and their scales (B, K + C, 3), metres, and the camera (B, 3)."""
        x = TokenRegressor(self.config, len(self.template), self.dtype, name="regressor")(tokens, self.template, train)
        x = x.astype(jnp.float32)

        def read(x, name, gain):
            init = nn.initializers.variance_scaling(gain, "fan_avg", "uniform")
            return Dense(3, kernel_init=init, name=name)(x)

        points = self.template + read(x, "offset", 1e-4)
        camera = MEAN_CAMERA + read(x.mean(1), "camera", 1e-4)
        return points, to_scale(read(x, "scale", 1e-4)), camera


def template_points(body: BodyModel, coarse: CoarseMesh) -> np.ndarray:
    """(K + C, 3) float32 joints and coarse vertices of the rest pose; camera axes, metres, pelvis at the origin."""
    vertices = np.asarray(body.v_template)[coarse.vertex_ids[:NUM_COARSE]]
    keypoints = coarse.joint_set_matrix(body, "keypoints_44") @ vertices
    points = np.concatenate([keypoints[list(EVALUATION_14_OF_44)], vertices]) - keypoints[PELVIS_44]
    return (points * _TO_CAMERA).astype(np.float32)
