"""HMR2.0's losses on keypoints and parameters: per-sample sums, which the objective weights and averages.

A label counts if its confidence is above 0. Under any other confidence prediction and label may hold anything, NaN and
huge numbers too: neither a value nor a gradient depends on them. A label that counts and is not finite makes the loss
NaN, at which training stops.

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
    return _weighted_distance(pred, target[..., :2], target[..., 2:])


def keypoint_3d_loss(pred: jax.Array, target: jax.Array, root: int = PELVIS_44) -> jax.Array:
    """L1 distance weighted by confidence, with both roots at the origin.

    Args:
        pred: (B, K, 3) metres.
        target: (B, K, 4) metres, confidence.
        root: index of the root keypoint.

    Returns:
        (B,) sums over keypoints and coordinates; 0 for a sample whose root has no label.
    """
    chex.assert_equal_shape_prefix((pred, target), 2)
    rooted = target[:, root, None, 3:] > 0
    points = target[..., :3] - jnp.where(rooted, target[:, root, None, :3], 0)
    return _weighted_distance(pred - pred[:, root, None], points, jnp.where(rooted, target[..., 3:], 0))


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
    labelled = jnp.reshape(has > 0, (-1,) + (1,) * (pred.ndim - 1))
    squares = _difference(pred, target, labelled) ** 2
    return jnp.where(has > 0, has, 0) * jnp.sum(squares, tuple(range(1, pred.ndim)))


def _weighted_distance(pred: jax.Array, target: jax.Array, confidence: jax.Array) -> jax.Array:
    """(B, K, C) points and (B, K, 1) confidence -> (B,) sums of L1 distances."""
    known = confidence > 0
    return jnp.sum(jnp.where(known, confidence, 0) * jnp.abs(_difference(pred, target, known)), (1, 2))


def _difference(pred: jax.Array, target: jax.Array, known: jax.Array) -> jax.Array:
    """pred - target where known, else 0.

    Both are replaced before the subtraction: a gradient through inf - inf or NaN is NaN even where it is masked later.
    """
    return jnp.where(known, pred, 0) - jnp.where(known, target, 0)
