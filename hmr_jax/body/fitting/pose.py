"""The parameters that are fitted, and steps of them.

Shapes: B bodies, J joints, S betas, P = 3 J + S + 3 parameters of a step: rotations, betas, translation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hmr_jax.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from hmr_jax.geometry.cameras import Array


class Pose(NamedTuple):
    """A posed, shaped and placed body."""

    betas: Array
    """(B, S)."""
    rotations: Array
    """(B, J, 3, 3) relative to the parent joint."""
    translation: Array
    """(B, 3) metres, SMPL's translation."""


def count_parameters(pose: Pose) -> int:
    """P."""
    return 3 * pose.rotations.shape[1] + pose.betas.shape[1] + 3


def move(pose: Pose, step: jax.Array) -> Pose:
    """Applies a step (B, P); rotations are multiplied from the left."""
    batch, joints = pose.rotations.shape[:2]
    rotations = axis_angle_to_matrix(step[:, : 3 * joints].reshape(batch, joints, 3)) @ pose.rotations
    return Pose(pose.betas + step[:, 3 * joints : -3], rotations, pose.translation + step[:, -3:])


def rotation_vectors(rotations: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Axis-angle vectors of rotations, and how they change when the rotations are multiplied from the left.

    Args:
        rotations: (..., 3, 3).

    Returns:
        Vectors (..., 3), and their derivatives (..., 3, 3) by the vector of the rotation that is multiplied: the
        inverse of SO(3)'s left Jacobian.
    """
    vector = matrix_to_axis_angle(rotations)
    squared = jnp.sum(vector**2, -1)[..., None, None]
    small = squared < 1e-2
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    # 1 / a^2 - (1 + cos a) / (2 a sin a) = (1 - a / 2 cot(a / 2)) / a^2, without its 0 / 0
    factor = jnp.where(small, 1 / 12 + squared / 720, (1 - angle / 2 / jnp.tan(angle / 2)) / angle**2)
    cross = cross_matrix(vector)
    return vector, jnp.eye(3) - cross / 2 + factor * (cross @ cross)


def cross_matrix(vector: jax.Array) -> jax.Array:
    """(..., 3) v -> (..., 3, 3) with which a product is the cross product with v."""
    x, y, z = jnp.moveaxis(vector, -1, 0)
    zero = jnp.zeros_like(x)
    return jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape, 3)
