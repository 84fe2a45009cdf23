"""Residual log-likelihood estimation (Li et al. 2021), as D2A-HMR writes it and as its authors' code computes it.

A network predicts the position of a point, mu, and the scale of its error, sigma. The likelihood of the label is that
of its normalised error: a fixed Laplace density Q times a learned one, G, which only has to model what Q does not.

Shapes: B batch, K tokens (joints, vertices), D dimensions.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

SIGMA_MIN = 1e-6
MAX_ERROR = 1e4
"""Errors are clipped to this, in the unit of mu, so that no quotient overflows."""


def normalized_error(mu: jax.Array, sigma: jax.Array, target: jax.Array) -> jax.Array:
    """(mu - target) / sigma: the argument of the learned density.

    Args:
        mu: (B, K, D) predicted points.
        sigma: (B, K, D) predicted scales, positive, in the unit of mu.
        target: (B, K, D + 1) points, confidence; points of confidence 0 may hold anything.

    Returns:
        (B, K, D) float32; 0 where the confidence is 0.
    """
    difference, sigma = _difference(mu, sigma, target)
    return difference / sigma


def residual_log_likelihood_loss(
    mu: jax.Array,
    sigma: jax.Array,
    target: jax.Array,
    log_phi: jax.Array,
    compat: bool = False,
    weight: jax.Array | None = None,
) -> jax.Array:
    """Negative log-likelihood of the targets, weighted by confidence; the normalisation of the product Q G is left out.

    Per token, with e the normalised error: sum_d(|e_d| + log 2) - log G(e) + sum_d log sigma_d (D2A-HMR, CRV 2024).
    The released code of residual log-likelihood estimation differs: it counts log G D times and log sigma twice, and
    its Q is exp(-|e| / sqrt 2) with the normaliser of a Gaussian.

    Args:
        mu: (B, K, D) predicted points.
        sigma: (B, K, D) predicted scales, positive.
        target: (B, K, D + 1) points, confidence.
        log_phi: (B, K) or (B, K, 1) log G of `normalized_error(mu, sigma, target)`, e.g. by `RealNVP.log_prob`.
        compat: the released code's terms.
        weight: (B, K, D) weights of coordinates in addition to the confidence; None: 1. The smallest of a token
            weights its term of G; with `compat` the first one weights its G and second log sigma.

    Returns:
        (B,) sums over tokens, float32; finite also for infinite inputs.
    """
    difference, sigma = _difference(mu, sigma, target)
    log_phi = jnp.asarray(log_phi, jnp.float32).reshape(*mu.shape[:2], 1)
    each = jnp.ones_like(sigma) if weight is None else jnp.asarray(weight, jnp.float32)
    if compat:
        learned = each[..., :1] * (jnp.log(sigma) - log_phi)
        fixed = jnp.log(sigma * np.sqrt(2 * np.pi)) + jnp.abs(difference) / (np.sqrt(2) * sigma + 1e-9)
    else:
        learned = -jnp.min(each, -1, keepdims=True) * log_phi
        fixed = jnp.abs(difference) / sigma + np.log(2) + jnp.log(sigma)
    loss = jnp.sum(learned, -1) + jnp.sum(each * fixed, -1)  # (B, K)
    confidence = jnp.asarray(target[..., -1], jnp.float32)
    return jnp.sum(jnp.where(confidence > 0, confidence, 0) * loss, 1)


def _difference(mu: jax.Array, sigma: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Clipped errors, 0 where there is no label, and clipped scales, 1 there; float32."""
    chex.assert_equal_shape((mu, sigma))
    chex.assert_shape(target, (*mu.shape[:2], mu.shape[2] + 1))
    mu, sigma, target = (jnp.asarray(x, jnp.float32) for x in (mu, sigma, target))
    labelled = target[..., -1:] > 0
    # Replaced before the subtraction: a gradient through inf - inf or NaN would be NaN even where it is masked.
    difference = jnp.where(labelled, mu, 0) - jnp.where(labelled, target[..., :-1], 0)
    return jnp.clip(difference, -MAX_ERROR, MAX_ERROR), jnp.clip(jnp.where(labelled, sigma, 1), SIGMA_MIN, MAX_ERROR)
