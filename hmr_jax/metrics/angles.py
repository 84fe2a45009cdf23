"""Errors of rotations in degrees.

Shapes: B batch, P body parts.
"""

import chex
import jax
import jax.numpy as jnp


def geodesic_angle(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Angle between rotation matrices (..., 3, 3) -> (...) degrees, exact for small and for large angles."""
    chex.assert_equal_shape((pred, target))
    rotation = jnp.einsum("...ji,...jk->...ik", pred, target, precision="highest")
    # Sine from the antisymmetric part, cosine from the trace: either alone is inexact near 0 or near 180.
    sine = jnp.linalg.norm(rotation - jnp.swapaxes(rotation, -1, -2), axis=(-1, -2)) / 2**1.5
    cosine = (jnp.trace(rotation, axis1=-2, axis2=-1) - 1) / 2
    return jnp.rad2deg(jnp.arctan2(sine, cosine))


def mpjae(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Mean per-joint angular error: rotations (B, P, 3, 3) of body parts in the camera's axes -> (B,) degrees."""
    return geodesic_angle(pred, target).mean(1)


def pa_mpjae(pred: jax.Array, target: jax.Array, rotation: jax.Array) -> jax.Array:
    """MPJAE after applying the rotation (B, 3, 3) of the joints' best similarity transform to the prediction."""
    return mpjae(jnp.einsum("bij,bpjk->bpik", rotation, pred, precision="highest"), target)
