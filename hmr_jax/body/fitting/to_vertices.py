"""Fit a body to given vertices or joints, so that labels of another body, such as SMPL-X, become SMPL parameters.

The rotation of each joint starts from the rigid motion of its part of the skin. Levenberg-Marquardt steps on all
parameters follow.

Shapes: B bodies, N fitted points, n given vertices, V vertices, J joints, S betas, P = 3 J + S + 3 parameters.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.fitting.points import Points, linearise, skin_points
from hmr_jax.body.fitting.pose import Pose
from hmr_jax.body.fitting.solver import Equations, minimise
from hmr_jax.body.fitting.terms import Keypoints3D, Shape, total
from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import skin
from hmr_jax.geometry import nearest_rotation
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
    rest = skin_points(model, ids[chosen], joints is not None)
    parts = _parts(model, rest.weights, 0 if vertices is None else len(chosen))
    fits = []
    for rows, new in equal_blocks(count, batch):
        targets = [np.asarray(target, np.float32)[rows] for target in given]
        fitted = targets if vertices is None else [targets[0][:, chosen], *targets[1:]]
        target = np.concatenate(fitted, 1)
        pose = _fit(rest, parts, model.parents, target, steps, shape_prior)
        errors = _errors(model, pose, np.concatenate(targets, 1), ids, vertices is not None)
        fits.append([np.asarray(part)[:new] for part in (*pose, *errors)])
    return BodyFit(*(np.concatenate(parts) for parts in zip(*fits, strict=True)))


@partial(jax.jit, static_argnames="parents")
def _fit(
    points: Points, parts: np.ndarray, parents: tuple[int, ...], target: jax.Array, steps: int, shape_prior: float
) -> Pose:
    start = _start(points, parts, parents, target)
    batch, count = target.shape[:2]
    # A mean of squared distances, of which none is doubted.
    near = Keypoints3D(target, jnp.full((batch, count), count**-0.5), jnp.inf)
    small = Shape(jnp.zeros_like(start.betas), jnp.full_like(start.betas, 1 / jnp.sqrt(shape_prior)))

    def equations(pose: Pose) -> Equations:
        return total((near, small), linearise(points, parents, pose))

    return minimise(equations, start, steps, exact=1e-11)[0]  # exact at three micrometres


def _start(points: Points, parts: np.ndarray, parents: tuple[int, ...], target: jax.Array) -> Pose:
    """Rigid motion of each part (Kabsch 1976), regularised by its parent's where the part does not determine it."""
    batch, eye = len(target), jnp.eye(3)
    parts = parts / jnp.maximum(parts.sum(0), 1e-9)  # (N, J)
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
    pose = Pose(
        jnp.zeros((batch, points.shapedirs.shape[-1])), jnp.swapaxes(of_parents, 2, 3) @ world, jnp.zeros((batch, 3))
    )
    posed = linearise(points, parents, pose).points
    return pose._replace(translation=(target - posed).mean(1))


@partial(jax.jit, static_argnames="with_vertices")
def _errors(
    model: BodyModel, pose: Pose, target: jax.Array, ids: jax.Array, with_vertices: bool
) -> tuple[jax.Array, jax.Array]:
    body = skin(model, pose.betas, pose.rotations, pose.translation, ids)
    points = jnp.concatenate([body.vertices, body.joints], 1)[:, : target.shape[1]] if with_vertices else body.joints
    distance = 1000 * jnp.linalg.norm(points - target, axis=-1)
    return distance.mean(1), distance.max(1)


def _parts(model: BodyModel, weights: np.ndarray, vertices: int) -> np.ndarray:
    """(N, J) weights of the points that determine a joint's initial rotation, of vertices first, then of joints."""
    children = weights[vertices:].copy()  # the positions of its children determine a joint's initial rotation
    if len(children):
        children[np.arange(1, model.num_joints), model.parents[1:]] = 1
    return np.concatenate([weights[:vertices] ** 2, children]).astype(np.float32)


def _spread(model: BodyModel, ids: np.ndarray, count: int) -> np.ndarray:
    """Indices into `ids` of about `count` vertices, far from one another, some of them on every joint's skin."""
    if count >= len(ids):
        return np.arange(len(ids))
    points = np.asarray(model.v_template)[ids]
    chosen = farthest_points(points, count, first=0)
    heaviest = np.argsort(-np.asarray(model.skinning_weights)[ids], 0, kind="stable")
    return np.unique(np.concatenate([chosen, heaviest[: 4 * _PART_POINTS : 4].ravel()]))
