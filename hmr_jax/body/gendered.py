"""Neutral, male and female bodies together, and the true bodies of a batch of labelled people.

Shapes: B batch, V vertices, S betas.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import BodyOutput, check_parameters, pose_joints, rest_joints, skin, skin_vertices
from hmr_jax.geometry import axis_angle_to_matrix


@struct.dataclass
class Bodies:
    """Bodies of one topology; a pytree, so that they can be an argument of jitted functions."""

    neutral: BodyModel
    """The body of predictions; its regressors are used for predictions and truth."""
    gendered: tuple[BodyModel, BodyModel] | None = None
    """Male and female; None: the truth is neutral too."""

    def on(self, mesh: Mesh) -> "Bodies":
        """The same bodies, replicated on each device of the mesh."""
        return jax.device_put(self, NamedSharding(mesh, PartitionSpec()))


def true_body(bodies: Bodies, pose: jax.Array, betas: jax.Array, gender: jax.Array | None) -> BodyOutput:
    """The labelled bodies of a batch, each with the model of its gender; to be jitted.

    Args:
        bodies: make them an argument of the jitted function: constants of this size are slow to compile.
        pose: (B, 24, 3) axis-angle.
        betas: (B, S).
        gender: (B,) int, see `genders.GENDERS`; needed where `bodies.gendered` is set.

    Returns:
        (B, V, 3) vertices and (B, 24, 3) joints, metres, camera axes.

    Raises:
        ValueError: `gender` is needed but None.
    """
    rotations = axis_angle_to_matrix(pose)
    if bodies.gendered is None:
        return skin(bodies.neutral, betas, rotations)
    if gender is None:
        raise ValueError(
            "The truth is gendered, but the batch has no 'gender': choose data with genders, or a protocol of neutral "
            "truth."
        )
    models = (bodies.neutral, *bodies.gendered)
    for body in models:
        check_parameters(body, betas, rotations)
    masks = [(gender == index)[:, None, None] for index in range(len(models))]
    rest = rest_joints(bodies.neutral, betas)
    for mask, body in zip(masks[1:], models[1:], strict=True):
        rest = jnp.where(mask, rest_joints(body, betas), rest)
    joints, transforms = pose_joints(bodies.neutral.parents, rest, rotations)
    meshes = [partial(skin_vertices, body, betas, rotations, transforms) for body in models]

    def mixed() -> jax.Array:
        shape = len(betas), bodies.neutral.num_vertices, 3
        total = jax.lax.cond(masks[0].any(), meshes[0], lambda: jnp.zeros(shape, betas.dtype))
        for mask, mesh in zip(masks[1:], meshes[1:], strict=True):
            total = jnp.where(mask, mesh(), total)
        return total

    # A sequence shows one person, so most batches hold one gender: only its mesh is posed then.
    chosen = jnp.where((gender == gender[0]).all(), gender[0], len(models))
    return BodyOutput(jax.lax.switch(chosen, [*meshes, mixed]), joints)
