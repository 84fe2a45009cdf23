"""HMR2.0's losses on keypoints and parameters: per-sample sums, which the objective weights and averages.

Shapes: B batch, K keypoints.
"""

import chex
import jax
import jax.numpy as jnp

from hmr_jax.body.joints import PELVIS_44


def keypoint_2d_loss(pred: jax.Array, target: jax.Array) -> jax.Array:
    """L1 distance weighted by confidence.

    Args:
        pred: (B, K, 2) in crop coordinates.
        target: (B, K, 3) x, y, confidence.

    Returns:
        (B,) sums over keypoints and coordinates.
    """
    chex.assert_equal_shape_prefix((pred, target), 2)
    return jnp.sum(target[..., 2:] * jnp.abs(pred - target[..., :2]), (1, 2))


def keypoint_3d_loss(pred: jax.Array, target: jax.Array, root: int = PELVIS_44) -> jax.Array:
    """L1 distance weighted by confidence, with both roots at the origin.

    Args:
        pred: (B, K, 3) metres.
        target: (B, K, 4) metres, confidence.
        root: index of the root keypoint.

    Returns:
        (B,) sums over keypoints and coordinates.
    """
    chex.assert_equal_shape_prefix((pred, target), 2)
    points = target[..., :3]
    difference = (pred - pred[:, root, None]) - (points - points[:, root, None])
    return jnp.sum(target[..., 3:] * jnp.abs(difference), (1, 2))


def parameter_loss(pred: jax.Array, target: jax.Array, has: jax.Array) -> jax.Array:
    """Squared error of parameters (rotation matrices, betas) where the label exists.

    Args:
        pred: (B, ...).
        target: (B, ...).
        has: (B,) 1 where the sample is labelled.

    Returns:
        (B,) sums over all parameters.
    """
    chex.assert_equal_shape((pred, target))
    return has * jnp.sum((pred - target) ** 2, tuple(range(1, pred.ndim)))
