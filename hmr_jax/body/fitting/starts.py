"""Where fitting starts when nothing is known but keypoints: likely poses whose keypoints look alike.

A few thousand poses are drawn from the pose prior and looked at from cameras as people are filmed. Those nearest to
what was seen, up to shift and scale (in an image) or up to a rigid motion (in space), are the hypotheses.

Shapes: B bodies, K keypoints, L poses of the library, H hypotheses of a body, J joints.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body.fitting.points import Points, linearise
from hmr_jax.body.fitting.pose import Pose
from hmr_jax.body.fitting.pose_prior import PoseFlow
from hmr_jax.geometry import axis_angle_to_matrix, nearest_rotation
from hmr_jax.geometry.cameras import fit_translation

SIZE = 4096
"""Poses of the library."""
IN_SPACE = 256
"""Those of them that are compared in space, where the camera does not matter."""
_BLOCK = 256
_OUTLIER = 3.0  # times the median distance from the best hypothesis, beyond which a point counts little
_FACING = np.diag([1.0, -1.0, -1.0])  # the world, Y up, seen by a level camera


class Library(NamedTuple):
    """Likely poses in front of cameras, of the average body."""

    rotations: np.ndarray
    """(L, J, 3, 3)."""
    keypoints: np.ndarray
    """(L, K, 3) metres, without translation."""
    root: np.ndarray
    """(3,) the point about which the first rotation turns the body."""


def make_library(points: Points, parents: tuple[int, ...], flow: PoseFlow) -> Library:
    """The library for a set of keypoints; it is always the same."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((SIZE, len(flow.mean))).astype(np.float32)
    poses = jax.jit(flow.from_normal)(numbers).reshape(SIZE, -1, 3)
    angles = np.radians([rng.normal(0, 10, SIZE), rng.normal(5, 20, SIZE), rng.uniform(-180, 180, SIZE)])
    # One in eight lies on the ground or hangs upside down.
    fallen = rng.random(SIZE) < 1 / 8
    views = Rotation.from_euler("ZXY", angles.T) * Rotation.from_euler("ZY", _falls(rng, fallen))
    rotations = np.concatenate(
        [(_FACING @ views.as_matrix()).astype(np.float32)[:, None], np.asarray(axis_angle_to_matrix(poses))], 1
    )
    blocks = [rotations[start : start + _BLOCK] for start in range(0, SIZE, _BLOCK)]
    keypoints = np.concatenate([np.asarray(_keypoints(points, parents, block)) for block in blocks])
    return Library(rotations, keypoints, points.joint_template[0])


def _falls(rng: np.random.Generator, fallen: np.ndarray) -> np.ndarray:
    """(L, 2) radians: from upright to another direction, then about the trunk."""
    return (
        np.stack([rng.uniform(np.pi / 4, np.pi, len(fallen)), rng.uniform(-np.pi, np.pi, len(fallen))], 1)
        * (fallen[:, None])
    )


@partial(jax.jit, static_argnames="parents")
def _keypoints(points: Points, parents: tuple[int, ...], rotations: jax.Array) -> jax.Array:
    count = len(rotations)
    pose = Pose(jnp.zeros((count, points.shapedirs.shape[2])), rotations, jnp.zeros((count, 3)))
    return linearise(points, parents, pose).points


def starts_in_image(
    library: Library, rays: np.ndarray, weights: np.ndarray, hypotheses: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hypotheses of people in an image.

    Args:
        library: of the same keypoints.
        rays: (B, K, 2) x / z and y / z.
        weights: (B, K) at least 0, of which at least two are positive.
        hypotheses: of each person.

    Returns:
        Rotations (B H, J, 3, 3) and translations (B H, 3) metres, those of a person together.
    """
    keypoints = library.keypoints
    chosen = _alike(rays, weights, keypoints, hypotheses)
    # A keypoint that is far off spoils shift and scale: those far from the best hypothesis count little.
    distance = np.linalg.norm(_placed(keypoints[chosen[:, 0]], rays, weights)[1], axis=-1)
    seen = np.where(weights > 0, distance, np.nan)
    usual = np.nanmedian(seen, 1, keepdims=True)
    shares = np.where(distance > _OUTLIER * usual, 0.05 * weights, weights)
    chosen = _alike(rays, shares, keypoints, hypotheses).ravel()
    each = (np.repeat(array, hypotheses, 0) for array in (rays, shares))
    translation = _placed(keypoints[chosen], *each)[0]
    return library.rotations[chosen], translation.astype(np.float32)


def _alike(rays: np.ndarray, weights: np.ndarray, keypoints: np.ndarray, hypotheses: int) -> np.ndarray:
    """(B, H) numbers of the library's poses that are nearest up to shift and scale, seen from afar."""
    shares = weights / weights.sum(1, keepdims=True)
    target = rays - (shares[..., None] * rays).sum(1, keepdims=True)
    flat, squared = keypoints[..., :2].astype(np.float64), (keypoints[..., :2] ** 2).sum(-1)
    mean = np.einsum("bk,lkc->blc", shares, flat, optimize=True)
    spread = np.maximum(shares @ squared.T - (mean**2).sum(-1), 1e-9)  # (B, L)
    along = np.einsum("bkc,lkc->bl", shares[..., None] * target, flat, optimize=True)
    gain = np.where(along > 0, along, 0) ** 2 / spread
    best = np.argpartition(-gain, hypotheses, 1)[:, :hypotheses]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(gain, best, 1), 1), 1)


def _placed(keypoints: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Translations (B, 3), and how far (B, K, 2) rays of keypoints (B, K, 3) then are from those seen."""
    keypoints = keypoints.astype(np.float64)
    translation = fit_translation(keypoints, rays.astype(np.float64), np.ones(2), np.zeros(2), weights)
    moved = keypoints + translation[:, None]
    return translation, moved[..., :2] / moved[..., 2:] - rays


def starts_in_space(
    library: Library, positions: np.ndarray, weights: np.ndarray, hypotheses: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same of people whose keypoints are known in space: (B, K, 3) metres, at least three of positive weight."""
    keypoints = library.keypoints[:IN_SPACE]
    found = [
        _align(positions[start : start + 32], weights[start : start + 32], keypoints, hypotheses)
        for start in range(0, len(positions), 32)
    ]
    chosen, turns, shifts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    turns, shifts = turns.reshape(-1, 3, 3), shifts.reshape(-1, 3)
    rotations = library.rotations[chosen.ravel()].copy()
    rotations[:, 0] = turns @ rotations[:, 0]  # about the root, while the motion turns about the origin
    return rotations, shifts + turns @ library.root - library.root


@partial(jax.jit, static_argnames="hypotheses")
def _align(
    positions: jax.Array, weights: jax.Array, keypoints: jax.Array, hypotheses: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Numbers (B, H) of poses, and the rigid motions (B, H, 3, 3), (B, H, 3) onto the positions."""
    shares = weights / weights.sum(1, keepdims=True)
    center = jnp.einsum("bk,bkc->bc", shares, positions)
    middle = jnp.einsum("bk,lkc->blc", shares, keypoints)
    target = positions - center[:, None]
    scatter = jnp.einsum("bk,bkc,lkd->blcd", shares, target, keypoints)  # the middle drops out
    rotation = nearest_rotation(scatter)
    spread = jnp.einsum("bk,lk->bl", shares, jnp.sum(keypoints**2, -1)) - jnp.sum(middle**2, -1)
    error = spread - 2 * jnp.einsum("blcd,blcd->bl", rotation, scatter)
    chosen = jax.lax.top_k(-error, hypotheses)[1]
    turn = jnp.take_along_axis(rotation, chosen[..., None, None], 1)
    shift = center[:, None] - jnp.einsum("bhcd,bhd->bhc", turn, jnp.take_along_axis(middle, chosen[..., None], 1))
    return chosen, turn, shift
