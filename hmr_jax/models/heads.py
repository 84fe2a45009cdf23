"""Heads: decoder tokens to SMPL parameters, encoder features to dense maps.

Shapes: B batch, T tokens, D width, h, w the map of patches, S the side of dense maps.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry import rotation_6d_to_matrix
from hmr_jax.ops import Dense

NUM_SMPL_JOINTS = len(SMPL_24)
NUM_BETAS = 10
MULTI_TOKENS = NUM_SMPL_JOINTS + 2  # pose tokens, shape, camera

# Upright and facing the camera: a rotation by 180 degrees about x from the body's axes (y up) to the camera's (y down).
_MEAN_POSE = np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (NUM_SMPL_JOINTS, 1))
_MEAN_POSE[0] = [1, 0, 0, 0, -1, 0]
MEAN_CAMERA = np.array([0.9, 0, 0], np.float32)


class SMPLHead(nn.Module):
    """Predicts rotations, betas and camera, each as a residual to mean parameters (HMR2.0, one step).

    The mean parameters are in the parameter tree, so that converted checkpoints bring theirs. They get no gradient.
    """

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(B, T, D) tokens, T either 1 or `MULTI_TOKENS` -> rotations (B, 24, 3, 3), betas (B, 10), camera (B, 3)."""
        tokens = tokens.astype(jnp.float32)
        batch = tokens.shape[0]

        def mean(name, value):
            return jax.lax.stop_gradient(self.param(f"mean_{name}", lambda _: jnp.asarray(value)))

        def linear(size, name):
            # Xavier with gain 0.01: predictions start at the mean parameters.
            init = nn.initializers.variance_scaling(1e-4, "fan_avg", "uniform")
            return Dense(size, kernel_init=init, name=name)

        if tokens.shape[1] == 1:
            pose_token = shape_token = camera_token = tokens[:, 0]
            pose = linear(6 * NUM_SMPL_JOINTS, "pose")(pose_token).reshape(batch, NUM_SMPL_JOINTS, 6)
        else:
            shape_token, camera_token = tokens[:, NUM_SMPL_JOINTS], tokens[:, NUM_SMPL_JOINTS + 1]
            pose = linear(6, "pose")(tokens[:, :NUM_SMPL_JOINTS])
        pose = pose + mean("pose", _MEAN_POSE)
        betas = linear(NUM_BETAS, "betas")(shape_token) + mean("betas", np.zeros(NUM_BETAS, np.float32))
        camera = linear(3, "camera")(camera_token) + mean("camera", MEAN_CAMERA)
        return rotation_6d_to_matrix(pose), betas, camera


class KeypointScale(nn.Module):
    """Predicts the scale of each of the 44 keypoints' errors along x, y and z, from the mean of the tokens."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """(B, T, D) -> (B, 44, 3) metres."""
        pooled = tokens.astype(jnp.float32).mean(1)
        raw = Dense(len(KEYPOINTS_44) * 3, kernel_init=nn.initializers.normal(0.001), name="scale")(pooled)
        return to_scale(raw.reshape(tokens.shape[0], -1, 3))


def to_scale(raw: jax.Array) -> jax.Array:
    """Any number -> a scale in metres between 0.1 mm and 0.5 m; 0 -> 0.1 m, about the error before training."""
    return 0.5 * nn.sigmoid(raw - np.float32(np.log(4))) + 1e-4


class DenseHead(nn.Module):
    """Every token predicts keypoint heatmaps, body parts and depth in the cells of its own patch.

    It is a single linear layer, so that the encoder's features must hold everything that it needs.
    """

    dense_size: int
    """S: side of the maps over the square crop, of which the encoder sees the centre columns."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> dict[str, jax.Array]:
        """(B, h, w, D) -> "heatmaps" (B, S, s, 44) logits, "parts" (B, S, s, 25) logits, "depth" (B, S, s) metres.

        s is the number of columns that the encoder sees.
        """
        batch, height, width, _ = features.shape
        cells = self.dense_size // height
        channels = {"heatmaps": len(KEYPOINTS_44), "parts": NUM_SMPL_JOINTS + 1, "depth": 1}
        x = Dense(cells * cells * sum(channels.values()), dtype=self.dtype, name="cells")(features)
        x = x.astype(jnp.float32).reshape(batch, height, width, cells, cells, -1)
        x = jnp.swapaxes(x, 2, 3).reshape(batch, height * cells, width * cells, -1)
        heatmaps, parts, depth = jnp.split(x, np.cumsum(list(channels.values()))[:-1], -1)
        return {"heatmaps": heatmaps, "parts": parts, "depth": depth[..., 0]}
