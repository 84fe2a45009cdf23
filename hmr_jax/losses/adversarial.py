"""Least-squares losses of the adversarial prior on pose and shape (HMR, Kanazawa et al. 2018).

Scores are those of `hmr_jax.models.discriminator.Discriminator`. HMR2.0 divides these sums by the batch size, unlike
its other losses: their mean over the batch has its weight of 0.0005 as it is.

Shapes: B batch, K scores of a body.
"""

import chex
import jax
import jax.numpy as jnp


def adversarial_loss(predicted: jax.Array) -> jax.Array:
    """The loss of the network that predicts bodies: how far they are from being taken for real.

    Args:
        predicted: (B, K) scores of predictions. Gradients are for the predictions: the discriminator's parameters are
            not trained with this loss.

    Returns:
        (B,) sums over the scores.
    """
    return jnp.sum((predicted - 1) ** 2, axis=-1)


def discriminator_loss(real: jax.Array, predicted: jax.Array) -> jax.Array:
    """The loss of the discriminator: real bodies should score 1, predicted ones 0.

    Args:
        real: (B, K) scores of bodies from motion capture or another source of natural poses.
        predicted: (B, K) scores of predictions through which no gradient flows (`jax.lax.stop_gradient`).

    Returns:
        (B,) sums over the scores of a real and a predicted body.
    """
    chex.assert_equal_shape((real, predicted))
    return jnp.sum((real - 1) ** 2, axis=-1) + jnp.sum(predicted**2, axis=-1)
