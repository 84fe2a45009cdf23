"""The points of a body that are fitted: where they are, and how they move with each parameter.

The derivatives are analytic: a joint rotates its descendants about itself, so nothing is differentiated through the
kinematic tree.

Shapes: B bodies, C cameras, N skinned points, K fitted points, V vertices, J joints, S betas, P parameters, see `pose`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.fitting.pose import Pose
from hmr_jax.body.kinematics import forward_kinematics
from hmr_jax.body.model import BodyModel
from hmr_jax.body.regressors import joint_set_matrix
from hmr_jax.geometry.cameras import NEAREST, Array


class Points(NamedTuple):
    """Points that are skinned as vertices are; a joint is a point with one weight."""

    template: np.ndarray  # (N, 3)
    shapedirs: np.ndarray  # (N, 3, S)
    posedirs: np.ndarray  # (N, 3, J - 1, 9)
    weights: np.ndarray  # (N, J)
    joint_template: np.ndarray  # (J, 3)
    joint_dirs: np.ndarray  # (J, 3, S)
    matrix: np.ndarray | None = None  # (K, N) the fitted points as sums of those that are skinned; None: they are these


class Linearised(NamedTuple):
    """A body, and its fitted points near it."""

    pose: Pose
    points: jax.Array
    """(B, K, 3) metres."""
    jacobian: jax.Array
    """(B, K, 3, P) derivatives of the points by a step."""
    surface: "Linearised | None" = None
    """The same body with points of its skin, for terms that are about the skin."""


def skin_points(model: BodyModel, vertex_ids: np.ndarray, with_joints: bool) -> Points:
    """The vertices `vertex_ids`, then all joints if asked for."""
    num_joints, regressor = model.num_joints, np.asarray(model.joint_regressor)
    shapedirs = np.asarray(model.shapedirs)
    joint_template = regressor @ np.asarray(model.v_template)
    joint_dirs = np.einsum("jv,vcs->jcs", regressor, shapedirs)
    posedirs = np.asarray(model.posedirs)[vertex_ids].reshape(len(vertex_ids), 3, num_joints - 1, 9)
    weights = np.asarray(model.skinning_weights)[vertex_ids]
    parts = [np.asarray(model.v_template)[vertex_ids], shapedirs[vertex_ids], posedirs, weights]
    if with_joints:
        extra = [joint_template, joint_dirs, np.zeros((num_joints, *posedirs.shape[1:])), np.eye(num_joints)]
        parts = [np.concatenate(pair) for pair in zip(parts, extra, strict=True)]
    return Points(*(np.asarray(part, np.float32) for part in (*parts, joint_template, joint_dirs)))


def keypoint_points(model: BodyModel, joint_set: str) -> Points:
    """The points of one of `regressors.JOINT_SETS`."""
    matrix, vertex_ids = joint_set_matrix(model, joint_set)
    count = model.num_joints
    vertices_first = np.concatenate([matrix[:, count:], matrix[:, :count]], 1)
    return skin_points(model, vertex_ids, with_joints=True)._replace(matrix=vertices_first)


def linearise(points: Points, parents: tuple[int, ...], pose: Pose) -> Linearised:
    """Where the points of bodies are, and how they move with each parameter."""
    batch, num_joints = pose.rotations.shape[:2]
    descendants = jnp.asarray(descendants_of(parents), jnp.float32)  # (J, J)
    parent_ids = np.array((0, *parents[1:]))
    eye = jnp.eye(3)
    rest_joints = jnp.asarray(points.joint_template) + jnp.einsum("jcs,bs->bjc", points.joint_dirs, pose.betas)
    feature = (pose.rotations[:, 1:] - eye).reshape(batch, num_joints - 1, 9)
    rest = points.template + jnp.einsum("ncs,bs->bnc", points.shapedirs, pose.betas)
    rest += jnp.einsum("ncjq,bjq->bnc", points.posedirs, feature)
    world, joints = forward_kinematics(parents, pose.rotations, rest_joints)
    shift = joints - jnp.einsum("bjcd,bjd->bjc", world, rest_joints)
    share = jnp.einsum("nj,bjcd,bnd->bnjc", points.weights, world, rest)
    share += jnp.asarray(points.weights)[:, :, None] * shift[:, None]
    blended = jnp.einsum("nj,bjcd->bncd", points.weights, world)
    share, weights = (_summed(points, array, axis) for array, axis in ((share, 1), (jnp.asarray(points.weights), 0)))
    posed = share.sum(2) + weights.sum(1, keepdims=True) * pose.translation[:, None]

    # A rotation of joint k, in the axes of its parent, rotates all its descendants about joint k.
    lever = jnp.einsum("bnjc,kj->bnkc", share, descendants)
    lever -= (weights @ descendants.T)[:, :, None] * joints[:, None]
    axes = jnp.where(jnp.arange(num_joints)[:, None, None] == 0, eye, world[:, parent_ids])  # (B, J, 3, 3), columns
    axes = jnp.swapaxes(axes, 2, 3)[:, None]  # (B, 1, J, 3 axes, 3)
    by_rotation = jnp.cross(axes, lever[:, :, :, None])  # (B, K, J, 3 axes, 3)
    # It also changes the pose blendshapes: d R_k = [e]x R_k.
    generators = jnp.cross(eye[:, None], eye[None]).swapaxes(1, 2)  # (3 axes, 3, 3)
    changes = jnp.einsum("mcd,bjde->bjmce", generators, pose.rotations[:, 1:]).reshape(batch, num_joints - 1, 3, 9)
    by_blend = jnp.einsum("ncjq,bjmq->bnjmc", points.posedirs, changes)
    by_blend = _summed(points, jnp.einsum("bncd,bnjmd->bnjmc", blended, by_blend), 1)
    by_rotation = by_rotation.at[:, :, 1:].add(by_blend)

    bones = jnp.asarray(points.joint_dirs).at[1:].add(-points.joint_dirs[parent_ids[1:]])  # (J, 3, S) of the bones
    grown = jnp.einsum("bjmc,jms->bjcs", axes[:, 0], bones)
    moved = jnp.einsum("kj,bkcs->bjcs", descendants, grown) - jnp.einsum("bjcd,jds->bjcs", world, points.joint_dirs)
    by_shape = _summed(points, jnp.einsum("bncd,nds->bncs", blended, points.shapedirs), 1)
    by_shape += jnp.einsum("nj,bjcs->bncs", weights, moved)
    by_translation = jnp.broadcast_to(weights.sum(1)[:, None, None] * eye, (*posed.shape, 3))
    by_rotation = by_rotation.reshape(batch, -1, 3 * num_joints, 3).swapaxes(2, 3)
    return Linearised(pose, posed, jnp.concatenate([by_rotation, by_shape, by_translation], -1))


def seen_by(at: Linearised, rotation: Array, translation: Array) -> tuple[jax.Array, jax.Array]:
    """Where cameras without lenses see the points.

    Args:
        at: the body.
        rotation: (B, C, 3, 3) from the body's axes to the camera's.
        translation: (B, C, 3) metres, added after the rotation.

    Returns:
        x / z and y / z (B, C, K, 2) in the camera's axes, and their derivatives (B, C, K, 2, P) by a step.
    """
    turned = jnp.einsum("bcij,bkj->bcki", rotation, at.points) + translation[:, :, None]
    depth = jnp.maximum(turned[..., 2:], NEAREST)
    seen = turned[..., :2] / depth
    # d(x / z) = (dx - (x / z) dz) / z, and dz = 0 behind the nearest plane
    beyond = jnp.where(turned[..., 2:] > NEAREST, -seen, 0.0)
    by_point = jnp.concatenate([jnp.broadcast_to(jnp.eye(2), (*seen.shape, 2)), beyond[..., None]], -1)
    by_point = jnp.einsum("bckij,bcjl->bckil", by_point / depth[..., None], rotation)
    return seen, jnp.einsum("bckij,bkjp->bckip", by_point, at.jacobian)


def _summed(points: Points, array: jax.Array, axis: int) -> jax.Array:
    """From an axis of skinned points to one of fitted points."""
    if points.matrix is None:
        return array
    return jnp.moveaxis(jnp.tensordot(points.matrix, array, (1, axis)), 0, axis)


def descendants_of(parents: tuple[int, ...]) -> np.ndarray:
    """(J, J) 1 where the second joint is the first one or a descendant of it."""
    matrix = np.eye(len(parents))
    for joint in range(len(parents) - 1, 0, -1):
        matrix[parents[joint]] += matrix[joint]
    return matrix
