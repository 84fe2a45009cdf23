"""Similarity (Procrustes) alignment. Letters: B batch, N points."""

import jax
import jax.numpy as jnp


def similarity_align(source: jax.Array, target: jax.Array) -> jax.Array:
    """Scales, rotates (no reflection) and shifts each source onto its target in the least-squares sense.

    Umeyama 1991. A source without extent is mapped onto the target's mean.

    Args:
        source: (B, N, 3).
        target: (B, N, 3).

    Returns:
        (B, N, 3) the aligned source.
    """
    source_mean, target_mean = source.mean(1, keepdims=True), target.mean(1, keepdims=True)
    x, y = source - source_mean, target - target_mean
    covariance = jnp.einsum("bni,bnj->bij", x, y, precision="highest")
    u, singular, vt = jnp.linalg.svd(covariance)  # x^T y = u s vt
    sign = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))
    ones = jnp.ones_like(sign)
    reflection = jnp.stack([ones, ones, jnp.where(sign == 0, 1.0, sign)], -1)
    rotation = jnp.einsum("bki,bk,bjk->bij", vt, reflection, u, precision="highest")
    scale = jnp.sum(singular * reflection, -1) / jnp.maximum(jnp.sum(x**2, (1, 2)), 1e-12)
    return scale[:, None, None] * jnp.einsum("bij,bnj->bni", rotation, x, precision="highest") + target_mean
