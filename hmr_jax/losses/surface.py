"""Losses on the body's surface and its outline (D2A-HMR): vertices and silhouettes.

Shapes: B batch, V vertices, H and W size of the mask.
"""

import chex
import jax
import jax.numpy as jnp
import optax


def vertex_loss(pred: jax.Array, target: jax.Array, has: jax.Array) -> jax.Array:
    """L1 distance of vertices in the same axes with the same origin.

    Args:
        pred: (B, V, 3) metres.
        target: (B, V, 3) metres.
        has: (B,) 1 where the sample is labelled.

    Returns:
        (B,) means over vertices and coordinates, metres; 0 without a label, whatever the target holds.
    """
    chex.assert_equal_shape((pred, target))
    labelled = has[:, None, None] > 0
    distance = jnp.abs(jnp.where(labelled, pred, 0) - jnp.where(labelled, target, 0))
    return jnp.where(has > 0, has, 0) * jnp.mean(distance, (1, 2))


def silhouette_loss(logits: jax.Array, mask: jax.Array, has: jax.Array) -> jax.Array:
    """Binary cross-entropy plus Dice loss (Milletari et al. 2016).

    Args:
        logits: (B, H, W).
        mask: (B, H, W) share of the person in each cell, in [0, 1].
        has: (B,) 1 where the sample has a mask.

    Returns:
        (B,) loss, 0 where there is no mask.
    """
    chex.assert_equal_shape((logits, mask))
    labelled = has[:, None, None] > 0
    logits, mask = (jnp.where(labelled, x.astype(jnp.float32), 0) for x in (logits, mask))
    mask = jnp.clip(mask, 0, 1)
    entropy = optax.sigmoid_binary_cross_entropy(logits, mask).mean((1, 2))
    probability = jax.nn.sigmoid(logits)
    common, total = jnp.sum(probability * mask, (1, 2)), jnp.sum(probability + mask, (1, 2))
    return jnp.where(has > 0, has, 0) * (entropy + 1 - (2 * common + 1) / (total + 1))
