"""Errors of bodies in millimetres.

No function aligns roots: move them to the origin first (`root_align`) if the protocol says so. A point counts if its
weight is above 0. The others may hold anything in prediction and target, NaN and huge numbers too: neither a value nor
a gradient depends on them. Without weights all points count equally.

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
    pred, target = (_counted(points, weights) for points in (pred, target))
    return 1000 * weighted_mean(per_joint_error(pred, target), weights)


def pa_mpjpe(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """MPJPE after the best similarity transform of each sample: (B, N, 3) metres twice -> (B,) millimetres.

    Two points or fewer always have an error of 0, which says nothing; evaluation does not count such samples.
    """
    return mpjpe(similarity_align(_counted(pred, weights), target, weights), target, weights)


def depth_error(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """MPJPE(z), the error along the camera's axis only: (B, N, 3) metres twice -> (B,) millimetres.

    D2A-HMR's Table IV reports it; |dz| after the same alignment is this project's interpretation. [default]
    """
    chex.assert_equal_shape((pred, target))
    pred, target = (_counted(points, weights) for points in (pred, target))
    return 1000 * weighted_mean(jnp.abs(pred[..., 2] - target[..., 2]), weights)


def pa_depth_error(pred: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """`depth_error` after the best similarity transform of each sample. [default]"""
    return depth_error(similarity_align(_counted(pred, weights), target, weights), target, weights)


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
    squares = sum((pred[..., axis] - target[..., axis]) ** 2 for axis in range(1, pred.shape[-1]))
    squares = squares + (pred[..., 0] - target[..., 0]) ** 2
    same = squares == 0  # where the gradient of a root is infinite
    return jnp.where(same, 0, jnp.sqrt(jnp.where(same, 1, squares)))


def weighted_mean(values: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """(B, N) values and weights -> (B,) means over the values of weight above 0; 0 where there is none."""
    if weights is None:
        return row_sums(values) / values.shape[1]
    counted = weights > 0
    shares = jnp.where(counted, weights, 0).astype(values.dtype)
    total = row_sums(shares)
    return row_sums(jnp.where(counted, values, 0) * shares) / jnp.where(total > 0, total, 1)


def _counted(points: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The points (B, N, C), 0 where their weight (B, N) is not above 0."""
    return points if weights is None else jnp.where(weights[..., None] > 0, points, 0)
