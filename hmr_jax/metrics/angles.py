"""Errors of rotations in degrees.

Letters: B batch, P body parts, J joints.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp


def geodesic_angle(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Angle between rotation matrices (..., 3, 3) -> (...) degrees, exact for small and for large angles alike."""
    chex.assert_equal_shape((pred, target))
    # |R1 - R2| = 2 sqrt(2) sin(angle / 2) and the trace gives cos: atan2 needs no clipping near 0 and 180.
    chord = jnp.sum((pred - target) ** 2, (-1, -2)) / 8  # sin^2(angle / 2)
    sine = jnp.sqrt(jnp.where(chord > 0, chord, 1)) * (chord > 0)
    cosine = jnp.sqrt(jnp.maximum(1 - chord, 0))
    return jnp.rad2deg(2 * jnp.arctan2(sine, cosine))


def mpjae(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Mean per-joint angular error: rotations (B, P, 3, 3) of body parts in the camera's axes -> (B,) degrees."""
    return geodesic_angle(pred, target).mean(1)


def pa_mpjae(pred: jax.Array, target: jax.Array, rotation: jax.Array) -> jax.Array:
    """MPJAE after turning the prediction by the rotation (B, 3, 3) of the joints' best similarity transform."""
    return mpjae(jnp.einsum("bij,bpjk->bpik", rotation, pred, precision="highest"), target)


def world_rotations(rotations: jax.Array, parents: Sequence[int]) -> jax.Array:
    """Rotations relative to the parent (B, J, 3, 3) -> rotations in the axes of the root's parent (B, J, 3, 3)."""
    turned = [rotations[:, 0]]
    for joint in range(1, rotations.shape[1]):
        turned.append(jnp.matmul(turned[parents[joint]], rotations[:, joint], precision="highest"))
    return jnp.stack(turned, 1)
