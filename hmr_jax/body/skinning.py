"""The forward pass of the body: betas and joint rotations to vertices and joints (SMPL, Loper et al. 2015).

Shapes: B batch, V vertices, n chosen vertices, J joints, S betas.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.kinematics import forward_kinematics
from hmr_jax.body.model import BodyModel


class BodyOutput(NamedTuple):
    """Posed body, metres."""

    vertices: jax.Array
    """(B, V, 3), or (B, n, 3) of the chosen ones."""
    joints: jax.Array
    """(B, J, 3)."""


def skin(
    model: BodyModel,
    betas: jax.Array,
    rotations: jax.Array,
    translation: jax.Array | None = None,
    vertex_ids: np.ndarray | jax.Array | None = None,
) -> BodyOutput:
    """Shapes, poses and skins the body.

    Args:
        model: the body.
        betas: (B, S) or fewer than the model's S: these are its first ones.
        rotations: (B, J, 3, 3) of each joint relative to its parent; the first one is the global orientation.
        translation: (B, 3) added last, or None.
        vertex_ids: (n,) skin these vertices only; the joints do not depend on it.

    Returns:
        Vertices and joints, metres, in the axes that the global orientation maps to.

    Raises:
        ValueError: a shape does not fit the model.
    """
    check_parameters(model, betas, rotations)
    joints, transforms = pose_joints(model.parents, rest_joints(model, betas), rotations)
    vertices = skin_vertices(model, betas, rotations, transforms, vertex_ids)
    if translation is not None:
        vertices, joints = vertices + translation[:, None], joints + translation[:, None]
    return BodyOutput(vertices, joints)


def check_parameters(model: BodyModel, betas: jax.Array, rotations: jax.Array) -> None:
    """Raises ValueError if betas (B, S) or rotations (B, J, 3, 3) do not fit the body."""
    batch, num_betas = betas.shape
    if num_betas > model.num_betas or rotations.shape != (batch, model.num_joints, 3, 3):
        raise ValueError(
            f"betas {betas.shape} and rotations {rotations.shape} do not fit a body of {model.num_betas} betas and "
            f"{model.num_joints} joints; expected (B, {model.num_betas}) and (B, {model.num_joints}, 3, 3)."
        )


def rest_joints(model: BodyModel, betas: jax.Array) -> jax.Array:
    """(B, S) -> (B, J, 3) joints of the shaped body in its rest pose."""
    # The regressor is linear, so it acts on the template and the shape space once, not on every body of the batch.
    template = model.joint_regressor @ model.v_template  # (J, 3)
    flat = model.shapedirs.reshape(model.num_vertices, -1)
    directions = (model.joint_regressor @ flat).reshape(-1, 3, model.num_betas)
    return jnp.einsum("bs,jcs->bjc", betas, directions[..., : betas.shape[1]]) + template


def pose_joints(parents: Sequence[int], rest: jax.Array, rotations: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Poses the joints: the part of skinning that needs no mesh.

    Args:
        parents: (J,) parent of each joint, -1 for the root.
        rest: (B, J, 3), see `rest_joints`.
        rotations: (B, J, 3, 3) relative to the parent.

    Returns:
        Joints (B, J, 3), and the transforms x -> R x + t of points fixed to each of them, as (B, J, 3, 4), t last.
    """
    world, joints = forward_kinematics(parents, rotations, rest)
    # x -> R (x - rest joint) + posed joint = R x + shift
    shift = joints - jnp.einsum("bjcd,bjd->bjc", world, rest)
    return joints, jnp.concatenate([world, shift[..., None]], -1)


def skin_vertices(
    model: BodyModel,
    betas: jax.Array,
    rotations: jax.Array,
    transforms: jax.Array,
    vertex_ids: np.ndarray | jax.Array | None = None,
) -> jax.Array:
    """The vertices of a body whose joints are posed.

    Args:
        model: the body.
        betas: (B, S).
        rotations: (B, J, 3, 3) relative to the parent, for the pose blendshapes.
        transforms: (B, J, 3, 4), see `pose_joints`.
        vertex_ids: (n,) these vertices only.

    Returns:
        (B, V, 3), or (B, n, 3).
    """
    batch, num_betas = betas.shape
    template, shapedirs, posedirs, weights = model.v_template, model.shapedirs, model.posedirs, model.skinning_weights
    if vertex_ids is not None:
        template, shapedirs = template[vertex_ids], shapedirs[vertex_ids]
        posedirs, weights = posedirs[vertex_ids], weights[vertex_ids]
    feature = (rotations[:, 1:] - jnp.eye(3, dtype=rotations.dtype)).reshape(batch, -1)  # (B, 9 (J - 1))
    num_vertices = len(template)
    offsets = feature @ posedirs.reshape(3 * num_vertices, -1).T
    offsets += betas @ shapedirs[..., :num_betas].reshape(3 * num_vertices, -1).T
    rest = template + offsets.reshape(batch, num_vertices, 3)
    entries = jnp.moveaxis(transforms, 1, -1).reshape(-1, model.num_joints)  # (12 B, J)
    blended = (entries @ weights.T).reshape(batch, 3, 4, num_vertices)
    # Written out: a sum over an axis of three takes XLA's CPU back end 20 times as long.
    rows = [sum(blended[:, row, c] * rest[..., c] for c in range(3)) + blended[:, row, 3] for row in range(3)]
    return jnp.stack(rows, -1)
