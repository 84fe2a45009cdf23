"""Residual log-likelihood estimation (Li et al. 2021), as D2A-HMR writes it and as its authors' code computes it.

A network says where a point is, mu, and how far off it may be, sigma. The likelihood of the label is that of its
normalised error: a fixed Laplace density Q times a learned one, G, which only has to learn what Q leaves over.

Shapes: B batch, K tokens (joints, vertices), D dimensions.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

SIGMA_MIN = 1e-6
FARTHEST = 1e4
"""Errors are cut off here, in the unit of mu, so that no quotient overflows."""


def normalized_error(mu: jax.Array, sigma: jax.Array, target: jax.Array) -> jax.Array:
    """(mu - target) / sigma: where the learned density is to be taken.

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
    """Negative log-likelihood of the targets, weighted by confidence; constants of normalisation of Q G are left out.

    Per token, with e the normalised error: sum_d(|e_d| + log 2) - log G(e) + sum_d log sigma_d (D2A-HMR, CRV 2024).
    The released code of residual log-likelihood estimation differs: it counts log G D times and log sigma twice, and
    its Q is exp(-|e| / sqrt 2) with the normaliser of a Gaussian.

    Args:
        mu: (B, K, D) predicted points.
        sigma: (B, K, D) predicted scales, positive.
        target: (B, K, D + 1) points, confidence.
        log_phi: (B, K) or (B, K, 1) log G of `normalized_error(mu, sigma, target)`, e.g. by `RealNVP.log_prob`.
        compat: the released code's terms.
        weight: (B, K, D) of single coordinates besides the confidence; by default 1. A token whose coordinates do not
            all count has no term of G, except with `compat`, where G and its log sigma follow the first coordinate.

    Returns:
        (B,) sums over tokens, float32; finite whatever finite or infinite numbers come in.
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
    return jnp.sum(jnp.asarray(target[..., -1], jnp.float32) * loss, 1)


def _difference(mu: jax.Array, sigma: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Errors that are finite and 0 where there is no label, and scales that can be divided by; float32."""
    chex.assert_equal_shape((mu, sigma))
    chex.assert_shape(target, (*mu.shape[:2], mu.shape[2] + 1))
    mu, sigma, target = (jnp.asarray(x, jnp.float32) for x in (mu, sigma, target))
    labelled = target[..., -1:] > 0
    # Replaced before the subtraction: a gradient through inf - inf or NaN would be NaN even where it is masked.
    difference = jnp.where(labelled, mu, 0) - jnp.where(labelled, target[..., :-1], 0)
    return jnp.clip(difference, -FARTHEST, FARTHEST), jnp.clip(sigma, SIGMA_MIN, FARTHEST)
