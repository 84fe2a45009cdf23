"""Fit a body to given vertices or joints, so that labels of another body, such as SMPL-X, become SMPL parameters.

The rotation of each joint starts from the rigid motion of its part of the skin. Levenberg-Marquardt steps on all
parameters follow. The Jacobian is analytic: a joint rotates its descendants about itself, so nothing is differentiated
through the kinematic tree, and only the 85 x 85 normal equations of each body are kept.

Shapes: B bodies, N fitted points, n given vertices, V vertices, J joints, S betas, P = 3 J + S + 3 parameters.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.kinematics import forward_kinematics
from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import skin
from hmr_jax.geometry import axis_angle_to_matrix, nearest_rotation
from hmr_jax.geometry.farthest_points import farthest_points

_TWIST = 1e-3  # weight of the parent's rotation at the start, for parts that do not determine their own
_PART_POINTS = 12  # of each joint's own skin, in addition to those spread over the whole body


class BodyFit(NamedTuple):
    """Fitted bodies, and their distances from the targets."""

    betas: np.ndarray
    """(B, S)."""
    rotations: np.ndarray
    """(B, J, 3, 3) relative to the parent joint, the first in the axes of the target."""
    translation: np.ndarray
    """(B, 3) metres, SMPL's translation."""
    mean_error: np.ndarray
    """(B,) mean distance from the target's points, mm."""
    max_error: np.ndarray
    """(B,) largest distance, mm."""


class _Points(NamedTuple):
    """Points of the body that are fitted, each skinned as a vertex is; a joint is a point with one weight."""

    template: np.ndarray  # (N, 3)
    shapedirs: np.ndarray  # (N, 3, S)
    posedirs: np.ndarray  # (N, 3, J - 1, 9)
    weights: np.ndarray  # (N, J)
    parts: np.ndarray  # (N, J) weights of the points that determine a joint's initial rotation
    joint_template: np.ndarray  # (J, 3)
    joint_dirs: np.ndarray  # (J, 3, S)


class _Pose(NamedTuple):
    betas: jax.Array
    rotations: jax.Array
    translation: jax.Array


def fit_body(
    model: BodyModel,
    vertices: np.ndarray | None = None,
    *,
    joints: np.ndarray | None = None,
    vertex_ids: np.ndarray | None = None,
    points: int = 500,
    steps: int = 20,
    shape_prior: float = 0.0,
    batch: int = 32,
) -> BodyFit:
    """Finds the betas, rotations and translation whose body is nearest, in the least-squares sense, to given points.

    Args:
        model: the body.
        vertices: (B, V, 3) target of its vertices, or (B, n, 3) of those in `vertex_ids`; metres.
        joints: (B, J, 3) target of its joints, metres; each counts as one point. Joints alone do not determine the
            rotation about some bones: it stays as it is in the rest pose.
        vertex_ids: (n,) indices of the vertices in `vertices`; None: all.
        points: about how many of the vertices are used, evenly spread; errors are computed over all of them.
        steps: of Levenberg-Marquardt at most; half a dozen are usual.
        shape_prior: metres squared per unit of beta squared that pulls betas to 0, for targets with little information.
        batch: bodies fitted at a time.

    Returns:
        NumPy arrays.

    Raises:
        ValueError: nothing to fit to, shapes that do not fit the body, or targets that are not finite.
    """
    given = [target for target in (vertices, joints) if target is not None]
    if not given:
        raise ValueError("Give vertices or joints, or both, to fit the body to.")
    ids = np.arange(model.num_vertices) if vertex_ids is None else np.asarray(vertex_ids)
    for name, target, expected in (("vertices", vertices, len(ids)), ("joints", joints, model.num_joints)):
        if target is None:
            continue
        if np.ndim(target) != 3 or np.shape(target)[1:] != (expected, 3):
            raise ValueError(f"{name} to fit to have shape {np.shape(target)}; this body needs (B, {expected}, 3).")
        if not np.isfinite(target).all():
            raise ValueError(f"{name} to fit to hold numbers that are not finite.")
    count = len(given[0])
    chosen = np.zeros(0, int) if vertices is None else _spread(model, ids, points)
    rest = _rest_points(model, ids[chosen], joints is not None)
    fits = []
    for start in range(0, count, batch):
        rows = np.minimum(np.arange(start, start + batch), count - 1)  # `batch` rows always: one program
        targets = [np.asarray(target, np.float32)[rows] for target in given]
        fitted = targets if vertices is None else [targets[0][:, chosen], *targets[1:]]
        target = np.concatenate(fitted, 1)
        pose = _fit(rest, model.parents, target, steps, shape_prior)
        errors = _errors(model, pose, np.concatenate(targets, 1), ids, vertices is not None)
        fits.append([np.asarray(part)[: count - start] for part in (*pose, *errors)])
    return BodyFit(*(np.concatenate(parts) for parts in zip(*fits, strict=True)))


@partial(jax.jit, static_argnames="parents")
def _fit(points: _Points, parents: tuple[int, ...], target: jax.Array, steps: int, shape_prior: float) -> _Pose:
    pose = _start(points, parents, target)
    count = pose.betas.shape[1] + 3 * len(parents) + 3
    # The first step moves nothing, it computes the equations of the start: so the program holds them only once.
    no_equations = jnp.zeros((len(target), count, count)), jnp.zeros((len(target), count)), jnp.full(len(target), 1e9)
    damping = jnp.full(len(target), 1e-2)

    def unfinished(state: tuple) -> jax.Array:
        return (state[0] <= steps) & state[-1].any()

    def step(state: tuple) -> tuple:
        count, pose, (hessian, gradient, cost), damping, _ = state
        # Scaled to a unit diagonal, so that one damping suits both betas and radians.
        scale = jax.lax.rsqrt(jnp.diagonal(hessian, axis1=1, axis2=2) + 1e-12)  # (B, P)
        scaled = hessian * scale[:, :, None] * scale[:, None]
        scaled += (damping[:, None, None] + 1e-6) * jnp.eye(scaled.shape[-1])
        factor = jax.scipy.linalg.cho_factor(scaled)
        change = -scale * jax.scipy.linalg.cho_solve(factor, (scale * gradient)[..., None])[..., 0]
        moved = _move(pose, change)
        tried = _normal_equations(points, parents, moved, target, shape_prior)
        better = tried[2] < cost

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        pose, equations = jax.tree.map(keep, (moved, tried), (pose, (hessian, gradient, cost)))
        damping = jnp.clip(damping * jnp.where(better, 0.1, 10.0), 1e-7, 1e3)
        # Done: the last step gained less than a thousandth, or the points are reached to three micrometres.
        return count + 1, pose, equations, damping, (cost > 1e-11) & (jnp.abs(cost - tried[2]) > 1e-3 * cost)

    return jax.lax.while_loop(unfinished, step, (0, pose, no_equations, damping, damping > 0))[1]


def _start(points: _Points, parents: tuple[int, ...], target: jax.Array) -> _Pose:
    """Rigid motion of each part (Kabsch 1976), regularised by its parent's where the part does not determine it."""
    batch, eye = len(target), jnp.eye(3)
    parts = points.parts / jnp.maximum(points.parts.sum(0), 1e-9)  # (N, J)
    rest = points.template[:, None] - (parts.T @ points.template)  # (N, J, 3) relative to each part's mean
    means = jnp.einsum("nj,bnc->bjc", parts, target)
    moved = target[:, :, None] - means[:, None]  # (B, N, J, 3)
    scatter = jnp.einsum("nj,njc,bnjd->bjdc", parts, rest, moved)  # (B, J, 3, 3)
    spread = jnp.einsum("nj,njc,njc->j", parts, rest, rest) + 1e-6

    def align(world: jax.Array, indices: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        """Parents come before children; joint 0 is its own parent here and starts from the identity."""
        joint, parent = indices
        regularised = scatter[:, joint] + _TWIST * spread[joint] * world[:, parent]
        return world.at[:, joint].set(nearest_rotation(regularised)), None

    indices = jnp.arange(len(parents)), jnp.array((0, *parents[1:]))
    world = jax.lax.scan(align, jnp.broadcast_to(eye, (batch, len(parents), 3, 3)), indices)[0]
    of_parents = jnp.concatenate([jnp.broadcast_to(eye, (batch, 1, 3, 3)), world[:, jnp.array(parents[1:])]], 1)
    pose = _Pose(
        jnp.zeros((batch, points.shapedirs.shape[-1])), jnp.swapaxes(of_parents, 2, 3) @ world, jnp.zeros((batch, 3))
    )
    posed = _linearise(points, parents, pose)[0]
    return pose._replace(translation=(target - posed).mean(1))


def _move(pose: _Pose, change: jax.Array) -> _Pose:
    """Applies a step (B, P); rotations are multiplied from the left."""
    batch, joints = pose.rotations.shape[:2]
    rotations = axis_angle_to_matrix(change[:, : 3 * joints].reshape(batch, joints, 3)) @ pose.rotations
    return _Pose(pose.betas + change[:, 3 * joints : -3], rotations, pose.translation + change[:, -3:])


def _normal_equations(
    points: _Points, parents: tuple[int, ...], pose: _Pose, target: jax.Array, shape_prior: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """With Jacobian D and residual r: D^T D (B, P, P), D^T r (B, P), and the mean of r^2 plus the prior (B,)."""
    posed, jacobian = _linearise(points, parents, pose)
    count, joints = posed.shape[1], len(parents)
    residual = (posed - target).reshape(len(target), -1)  # (B, 3 N)
    flat = jacobian.reshape(len(target), 3 * count, -1)  # (B, 3 N, P)
    prior = jnp.zeros(flat.shape[-1]).at[3 * joints : -3].set(shape_prior)
    hessian = jnp.einsum("bnp,bnq->bpq", flat, flat) / count + jnp.diag(prior)
    betas = jnp.zeros_like(flat[:, 0]).at[:, 3 * joints : -3].set(pose.betas)
    gradient = jnp.einsum("bnp,bn->bp", flat, residual) / count + prior * betas
    return hessian, gradient, jnp.sum(residual**2, 1) / count + shape_prior * jnp.sum(pose.betas**2, 1)


def _linearise(points: _Points, parents: tuple[int, ...], pose: _Pose) -> tuple[jax.Array, jax.Array]:
    """Posed points (B, N, 3), and their derivatives by rotations, betas and translation (B, N, 3, P)."""
    batch, num_joints = pose.rotations.shape[:2]
    descendants = jnp.asarray(_descendants(parents), jnp.float32)  # (J, J)
    parent_ids = jnp.array((0, *parents[1:]))
    eye = jnp.eye(3)
    rest_joints = jnp.asarray(points.joint_template) + jnp.einsum("jcs,bs->bjc", points.joint_dirs, pose.betas)
    feature = (pose.rotations[:, 1:] - eye).reshape(batch, num_joints - 1, 9)
    rest = points.template + jnp.einsum("ncs,bs->bnc", points.shapedirs, pose.betas)
    rest += jnp.einsum("ncjq,bjq->bnc", points.posedirs, feature)
    world, joints = forward_kinematics(parents, pose.rotations, rest_joints)
    shift = joints - jnp.einsum("bjcd,bjd->bjc", world, rest_joints)
    share = jnp.einsum("nj,bjcd,bnd->bnjc", points.weights, world, rest) + points.weights[:, :, None] * shift[:, None]
    posed = share.sum(2) + pose.translation[:, None]
    blended = jnp.einsum("nj,bjcd->bncd", points.weights, world)

    # A rotation of joint k, in the axes of its parent, rotates all its descendants about joint k.
    lever = jnp.einsum("bnjc,kj->bnkc", share, descendants)
    lever -= (points.weights @ descendants.T)[:, :, None] * joints[:, None]
    axes = jnp.where(jnp.arange(num_joints)[:, None, None] == 0, eye, world[:, parent_ids])  # (B, J, 3, 3), columns
    axes = jnp.swapaxes(axes, 2, 3)[:, None]  # (B, 1, J, 3 axes, 3)
    by_rotation = jnp.cross(axes, lever[:, :, :, None])  # (B, N, J, 3 axes, 3)
    # It also changes the pose blendshapes: d R_k = [e]x R_k.
    generators = jnp.cross(eye[:, None], eye[None]).swapaxes(1, 2)  # (3 axes, 3, 3)
    changes = jnp.einsum("mcd,bjde->bjmce", generators, pose.rotations[:, 1:]).reshape(batch, num_joints - 1, 3, 9)
    by_blend = jnp.einsum("ncjq,bjmq->bnjmc", points.posedirs, changes)
    by_rotation = by_rotation.at[:, :, 1:].add(jnp.einsum("bncd,bnjmd->bnjmc", blended, by_blend))

    bones = jnp.asarray(points.joint_dirs).at[1:].add(-points.joint_dirs[parent_ids[1:]])  # (J, 3, S) of the bones
    grown = jnp.einsum("bjmc,jms->bjcs", axes[:, 0], bones)
    moved = jnp.einsum("kj,bkcs->bjcs", descendants, grown) - jnp.einsum("bjcd,jds->bjcs", world, points.joint_dirs)
    by_shape = jnp.einsum("bncd,nds->bncs", blended, points.shapedirs)
    by_shape += jnp.einsum("nj,bjcs->bncs", points.weights, moved)
    by_translation = jnp.broadcast_to(eye, (*posed.shape, 3))
    by_rotation = by_rotation.reshape(batch, -1, 3 * num_joints, 3).swapaxes(2, 3)
    return posed, jnp.concatenate([by_rotation, by_shape, by_translation], -1)


@partial(jax.jit, static_argnames="with_vertices")
def _errors(
    model: BodyModel, pose: _Pose, target: jax.Array, ids: jax.Array, with_vertices: bool
) -> tuple[jax.Array, jax.Array]:
    body = skin(model, pose.betas, pose.rotations, pose.translation, ids)
    points = jnp.concatenate([body.vertices, body.joints], 1)[:, : target.shape[1]] if with_vertices else body.joints
    distance = 1000 * jnp.linalg.norm(points - target, axis=-1)
    return distance.mean(1), distance.max(1)


def _descendants(parents: tuple[int, ...]) -> np.ndarray:
    """(J, J) 1 where the second joint is the first one or a descendant of it."""
    matrix = np.eye(len(parents))
    for joint in range(len(parents) - 1, 0, -1):
        matrix[parents[joint]] += matrix[joint]
    return matrix


def _rest_points(model: BodyModel, ids: np.ndarray, with_joints: bool) -> _Points:
    """The vertices `ids`, then all joints if asked for."""
    num_joints, regressor = model.num_joints, np.asarray(model.joint_regressor)
    shapedirs = np.asarray(model.shapedirs)
    joint_template = regressor @ np.asarray(model.v_template)
    joint_dirs = np.einsum("jv,vcs->jcs", regressor, shapedirs)
    weights = np.asarray(model.skinning_weights)[ids]
    posedirs = np.asarray(model.posedirs)[ids].reshape(len(ids), 3, num_joints - 1, 9)
    parts = [np.asarray(model.v_template)[ids], shapedirs[ids], posedirs, weights, weights**2]
    if with_joints:
        one = np.eye(num_joints)
        children = one.copy()  # the positions of its children determine a joint's initial rotation
        children[np.arange(1, num_joints), model.parents[1:]] = 1
        extra = [joint_template, joint_dirs, np.zeros((num_joints, *posedirs.shape[1:])), one, children]
        parts = [np.concatenate(pair) for pair in zip(parts, extra, strict=True)]
    return _Points(*(np.asarray(part, np.float32) for part in (*parts, joint_template, joint_dirs)))


def _spread(model: BodyModel, ids: np.ndarray, count: int) -> np.ndarray:
    """Indices into `ids` of about `count` vertices, far from one another, some of them on every joint's skin."""
    if count >= len(ids):
        return np.arange(len(ids))
    points = np.asarray(model.v_template)[ids]
    chosen = farthest_points(points, count, first=0)
    heaviest = np.argsort(-np.asarray(model.skinning_weights)[ids], 0, kind="stable")
    return np.unique(np.concatenate([chosen, heaviest[: 4 * _PART_POINTS : 4].ravel()]))
