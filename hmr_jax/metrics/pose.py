"""Errors of bodies in millimetres.

No function aligns roots: move them to the origin first (`root_align`) if the protocol says so. Points of weight 0 do
not count; without weights all points count equally.

Shapes: B batch, N points, V vertices.
"""

import chex
import jax
import jax.numpy as jnp

from hmr_jax.geometry import similarity_align
from hmr_jax.geometry.alignment import row_sums


def root_align(points: jax.Array, root: jax.Array) -> jax.Array:
    """(B, N, 3) points and (B, 3) their root -> the points with the root at the origin."""
    return points - root[:, None]


def mpjpe(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean per-joint position error: (B, N, 3) metres twice, weights (B, N) -> (B,) millimetres."""
    return 1000 * weighted_mean(per_joint_error(pred, target), weights)


def pa_mpjpe(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """MPJPE after the best similarity transform of each sample: (B, N, 3) metres twice -> (B,) millimetres."""
    return mpjpe(similarity_align(pred, target, weights), target, weights)


def depth_error(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """MPJPE(z), the error along the camera's axis only: (B, N, 3) metres twice -> (B,) millimetres.

    D2A-HMR's Table IV reports it; |dz| after the same alignment is this project's interpretation. [default]
    """
    chex.assert_equal_shape((pred, target))
    return 1000 * weighted_mean(jnp.abs(pred[..., 2] - target[..., 2]), weights)


def pa_depth_error(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """`depth_error` after the best similarity transform of each sample. [default]"""
    return depth_error(similarity_align(pred, target, weights), target, weights)


def pve(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Per-vertex error: (B, V, 3) metres twice -> (B,) millimetres."""
    return mpjpe(pred, target)


def pa_pve(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Per-vertex error after the best similarity transform of the vertices: (B, V, 3) metres twice -> (B,) mm."""
    return pa_mpjpe(pred, target)


def per_joint_error(pred: jax.Array, target: jax.Array) -> jax.Array:
    """(B, N, 3) twice -> (B, N) distances in the same unit."""
    chex.assert_equal_shape((pred, target))
    # Written out: sums over an axis of three are slow in XLA's CPU back end.
    return jnp.sqrt(sum((pred[..., axis] - target[..., axis]) ** 2 for axis in range(pred.shape[-1])))


def weighted_mean(values: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """(B, N) values and weights -> (B,) means; 0 where all weights are 0."""
    if weights is None:
        return row_sums(values) / values.shape[1]
    return row_sums(jnp.where(weights > 0, values * weights, 0)) / jnp.maximum(row_sums(weights), 1e-9)
