"""Errors of bodies in millimetres.

Each function compares what it is given: move roots to the origin first (`root_align`) where the protocol says so.
Letters: B batch, N points.
"""

import chex
import jax
import jax.numpy as jnp

from hmr_jax.geometry import similarity_align


def root_align(points: jax.Array, root: jax.Array) -> jax.Array:
    """(B, N, 3) points and (B, 3) their root -> the points with the root at the origin."""
    return points - root[:, None]


def mpjpe(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Mean per-joint position error: (B, N, 3) metres twice -> (B,) millimetres."""
    return 1000 * per_joint_error(pred, target).mean(1)


def pa_mpjpe(pred: jax.Array, target: jax.Array) -> jax.Array:
    """MPJPE after the best similarity transform of each sample: (B, N, 3) metres twice -> (B,) millimetres."""
    return mpjpe(similarity_align(pred, target), target)


def pve(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Per-vertex error: (B, V, 3) metres twice -> (B,) millimetres."""
    return mpjpe(pred, target)


def per_joint_error(pred: jax.Array, target: jax.Array) -> jax.Array:
    """(B, N, 3) twice -> (B, N) distances in the same unit."""
    chex.assert_equal_shape((pred, target))
    return jnp.linalg.norm(pred - target, axis=-1)
