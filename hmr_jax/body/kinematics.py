"""Forward kinematics: rotations relative to the parent joint -> the posed skeleton.

Shapes: B batch, J joints.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def forward_kinematics(
    parents: Sequence[int], rotations: jax.Array, rest_joints: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Poses a skeleton.

    Pointer doubling: each round expresses all joints in the axes of an ancestor twice as far up the tree. Four rounds
    are enough for chains of up to 16 joints; a loop over joints would compile to three times as many operations.

    Args:
        parents: (J,) parent of each joint, -1 for the root.
        rotations: (B, J, 3, 3) relative to the parent.
        rest_joints: (B, J, 3) in the rest pose, metres.

    Returns:
        Rotations (B, J, 3, 3) and joints (B, J, 3) in the axes of the root's parent.
    """
    ancestors = np.array(parents)  # -1: the axes of the root's parent are reached
    parent_joints = jnp.where((ancestors < 0)[:, None], 0, rest_joints[:, ancestors])
    joints = rest_joints - parent_joints
    while (ancestors >= 0).any():
        below = (ancestors >= 0)[:, None]
        above, shifts = rotations[:, ancestors], joints[:, ancestors]
        joints = jnp.where(below, jnp.einsum("bjcd,bjd->bjc", above, joints) + shifts, joints)
        rotations = jnp.where(below[..., None], above @ rotations, rotations)
        ancestors = np.where(ancestors < 0, -1, ancestors[ancestors])
    return rotations, joints


def world_rotations(parents: Sequence[int], rotations: jax.Array) -> jax.Array:
    """The rotations alone: (B, J, 3, 3) relative to the parent -> (B, J, 3, 3) in the axes of the root's parent."""
    with jax.default_matmul_precision("highest"):
        return forward_kinematics(parents, rotations, jnp.zeros(rotations.shape[:-1], rotations.dtype))[0]


def forward_kinematics_numpy(
    parents: Sequence[int], rotations: np.ndarray, rest_joints: np.ndarray, root: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`forward_kinematics` joint by joint in NumPy, for processes that render people and must not start JAX.

    Args:
        parents: (J,) parent of each joint, -1 for the root.
        rotations: (..., J, 3, 3) relative to the parent.
        rest_joints: (..., J, 3), or (J, 3) for all bodies, metres.
        root: (..., 3) position of the root joint; None: its rest position.

    Returns:
        Rotations (..., J, 3, 3) and joints (..., J, 3) in the axes of the root's parent.
    """
    world, joints = [rotations[..., 0, :, :]], [rest_joints[..., 0, :] if root is None else root]
    for joint, parent in enumerate(parents[1:], 1):
        bone = rest_joints[..., joint, :] - rest_joints[..., parent, :]
        joints.append(joints[parent] + (world[parent] @ bone[..., None])[..., 0])
        world.append(world[parent] @ rotations[..., joint, :, :])
    return np.stack(world, -3), np.stack(joints, -2)
