"""Bodies from keypoints: in images, in space, or both.

    seen = in_image(keypoints, sigma, focal_length, center)
    fit = KeypointFitter(load_body_model())([seen])

Shapes: B bodies, C cameras, K keypoints, J joints, S betas, H hypotheses, P parameters of a step.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.fitting.heat_maps import HeatMaps
from hmr_jax.body.fitting.points import Linearised, Points, keypoint_points, linearise
from hmr_jax.body.fitting.pose import Pose
from hmr_jax.body.fitting.pose_prior import load_pose_prior
from hmr_jax.body.fitting.silhouettes import Silhouettes, surface_points
from hmr_jax.body.fitting.solver import minimise, solve_positive
from hmr_jax.body.fitting.starts import Library, make_library, starts_in_image, starts_in_space
from hmr_jax.body.fitting.terms import Keypoints2D, Keypoints3D, KeypointsAround, Shape, total
from hmr_jax.body.joints import SMPL_24
from hmr_jax.body.model import BodyModel

FEWEST = 4
"""Keypoints of a body, below which nothing is fitted without a start: the prior alone would be the answer."""
HYPOTHESES = 4
STEPS = 30
_COARSE_STEPS = 8
_COARSE = 0.1
"""Weight of the keypoints while hypotheses are compared, so that the likely ones get near first."""
_OF_KEYPOINTS = (Keypoints2D, Keypoints3D, KeypointsAround, HeatMaps)


class KeypointFit(NamedTuple):
    """Fitted bodies."""

    betas: np.ndarray
    """(B, S)."""
    rotations: np.ndarray
    """(B, J, 3, 3) relative to the parent joint."""
    translation: np.ndarray
    """(B, 3) metres, SMPL's translation."""
    keypoints: np.ndarray
    """(B, K, 3) metres, with the translation."""
    cost: np.ndarray
    """(B,) squared residuals in standard deviations, of all terms."""
    sigma: np.ndarray | None = None
    """(B, K) metres: one standard deviation of the keypoints in space, by the curvature of the cost."""


def in_image(
    keypoints: np.ndarray,
    sigma: np.ndarray,
    focal_length: np.ndarray,
    center: np.ndarray,
    robust: float | np.ndarray = 8.0,
) -> Keypoints2D:
    """Keypoints in one image of each body, by a camera without distortion.

    Args:
        keypoints: (B, K, 2) px.
        sigma: (B, K) px, one standard deviation along x and y; infinite where a keypoint is not seen.
        focal_length: (B, 2) or (2,) px.
        center: (B, 2) or (2,) principal point, px.
        robust: standard deviations from which on a keypoint is taken for a mistake, of all bodies or (B,).
    """
    seen = np.isfinite(keypoints).all(-1) & np.isfinite(sigma)
    focal, center = (np.broadcast_to(np.asarray(array, np.float32), (len(seen), 2)) for array in (focal_length, center))
    rays = np.where(seen[..., None], (keypoints - center[:, None]) / focal[:, None], 0)
    weights = np.where(seen, focal.mean(1, keepdims=True) / sigma, 0)
    eye = np.broadcast_to(np.eye(3, dtype=np.float32), (len(seen), 1, 3, 3))
    arrays = (rays[:, None], weights[:, None], eye, np.zeros((len(seen), 1, 3)), np.full(len(seen), 1.0) * robust)
    return Keypoints2D(*(np.asarray(array, np.float32) for array in arrays))


def in_space(positions: np.ndarray, sigma: np.ndarray, robust: float = 8.0) -> Keypoints3D:
    """Keypoints in space: (B, K, 3) metres, with sigma (B, K) metres; infinite where a keypoint is not known."""
    known = np.isfinite(positions).all(-1) & np.isfinite(sigma)
    weights = np.where(known, 1 / sigma, 0)
    arrays = (np.where(known[..., None], positions, 0), weights, np.full(len(known), robust))
    return Keypoints3D(*(np.asarray(array, np.float32) for array in arrays))


class KeypointFitter:
    """Fits one body model to one set of keypoints."""

    def __init__(
        self,
        model: BodyModel,
        joint_set: str = "keypoints_44",
        prior: Sequence[Any] | None = None,
        batches: tuple[int, ...] = (1, 8, 64),
    ):
        """Prepares the keypoints.

        Args:
            model: the body.
            joint_set: what the keypoints are, one of `regressors.JOINT_SETS`.
            prior: terms that are the same for all bodies. None: the shipped prior of poses, for bodies with SMPL's
                joints, else none.
            batches: numbers of bodies that are solved together, ascending, each a program of its own: the least that
                holds all bodies, or the largest.

        Raises:
            ValueError: the body lacks what the joint set needs.
        """
        self._model = model
        self._points = keypoint_points(model, joint_set)
        self._poses = load_pose_prior() if model.num_joints == len(SMPL_24) else None
        self._prior = tuple(self._poses or ()) if prior is None else tuple(prior)
        self._batches = batches

    @cached_property
    def _library(self) -> Library:
        if self._poses is None:
            raise ValueError(f"Poses to start from are known of bodies of {len(SMPL_24)} joints only: give `start`.")
        return make_library(self._points, self._model.parents, self._poses.flow)

    @cached_property
    def _surface(self) -> Points:
        return surface_points(self._model)

    def __call__(
        self,
        terms: Sequence[Any],
        start: Pose | None = None,
        steps: int = STEPS,
        hypotheses: int = HYPOTHESES,
        with_sigma: bool = True,
    ) -> KeypointFit:
        """The most likely bodies, given what is known of each.

        Args:
            terms: `fitting.terms` of B bodies: every array has their axis first. Betas of variance 1 are assumed,
                unless `Shape` is among them.
            start: of B bodies. None: poses of the prior that look like the first `Keypoints2D` with one camera, or
                `Keypoints3D`, among the terms.
            steps: at most; twice as many with `Silhouettes`, as keypoints are fitted without them first.
            hypotheses: starts of each body, of which the best is kept, if `start` is None.
            with_sigma: whether `KeypointFit.sigma` is computed, which takes as long as a few steps.

        Returns:
            NumPy arrays.

        Raises:
            ValueError: no terms, terms of different numbers of bodies, keypoints of another set, numbers that are not
                finite, or without a start a body of fewer than `FEWEST` keypoints.
        """
        count = self._check(terms)
        if not any(isinstance(term, Shape) for term in terms):
            terms = [*terms, Shape(*(np.full((count, self._model.num_betas), one, np.float32) for one in (0, 1)))]
        near = [term for term in terms if not isinstance(term, Silhouettes)]
        if start is None:
            start = self._best_start(near, count, hypotheses)
        if len(near) < len(terms) and any(isinstance(term, _OF_KEYPOINTS) for term in near):
            # An outline says which way to go only to a body that is near it.
            start = Pose(*self._solve_all(near, start, steps, False)[:3])
        return self._solve_all(terms, start, steps, with_sigma)

    def _check(self, terms: Sequence[Any]) -> int:
        """B; raises ValueError if terms do not fit together."""
        if not terms:
            raise ValueError("Give at least one term to fit bodies to, such as `in_image` makes.")
        sizes = sorted({len(array) for term in terms for array in term})
        if len(sizes) != 1:
            raise ValueError(f"The terms are of {', '.join(map(str, sizes))} bodies; they must be of the same ones.")
        expected = len(self._points.matrix)  # type: ignore[arg-type]
        for term in terms:
            kind = type(term).__name__
            for name, array in zip(term._fields, term, strict=True):
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} of {kind} holds numbers that are not finite.")
            if isinstance(term, _OF_KEYPOINTS) and term.weights.shape[-1] != expected:
                raise ValueError(f"{kind} has {term.weights.shape[-1]} keypoints, but the set has {expected}.")
        return sizes[0]

    def _best_start(self, terms: Sequence[Any], count: int, hypotheses: int) -> Pose:
        rotations, translation = self._starts(terms, hypotheses)
        betas = np.zeros((len(rotations), self._model.num_betas), np.float32)
        weaker, owners = [_weaker(term) for term in terms], np.repeat(np.arange(count), hypotheses)
        fit = self._solve_all(weaker, Pose(betas, rotations, translation), _COARSE_STEPS, False, owners)
        cost = np.where(np.isfinite(fit.cost), fit.cost, np.inf).reshape(count, hypotheses)
        best = np.arange(count) * hypotheses + cost.argmin(1)
        return Pose(fit.betas[best], fit.rotations[best], fit.translation[best])

    def _starts(self, terms: Sequence[Any], hypotheses: int) -> tuple[np.ndarray, np.ndarray]:
        """Rotations and translations of B H bodies."""
        for term in terms:
            if isinstance(term, Keypoints2D) and term.weights.shape[1] == 1:
                rays, weights = np.asarray(term.rays)[:, 0], np.asarray(term.weights)[:, 0]
                _check_enough(weights)
                return starts_in_image(self._library, rays, weights, hypotheses)
            if isinstance(term, Keypoints3D):
                positions, weights = np.asarray(term.positions), np.asarray(term.weights)
                _check_enough(weights)
                return starts_in_space(self._library, positions, weights, hypotheses)
        raise ValueError("Give `start`, as no term has keypoints in space or in the image of one camera.")

    def _solve_all(
        self, terms: Sequence[Any], start: Pose, steps: int, with_sigma: bool, owners: np.ndarray | None = None
    ) -> KeypointFit:
        """Any number of bodies, in batches of one size; `owners` says whose terms each start has, if not its own."""
        count, found = len(start.betas), []
        owners = np.arange(count) if owners is None else owners
        size = next((size for size in self._batches if size >= count), self._batches[-1])
        surface = self._surface if any(isinstance(term, Silhouettes) for term in terms) else None
        for rows, new in equal_blocks(count, size):
            batch, poses = tuple(_rows(terms, owners[rows])), Pose(*_rows(start, rows))
            solved = _solve(self._points, surface, self._model.parents, self._prior, batch, poses, steps, with_sigma)
            found.append([np.asarray(array)[:new] for array in solved])
        return KeypointFit(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _check_enough(weights: np.ndarray) -> None:
    seen = (np.asarray(weights) > 0).sum(1)
    if len(seen) and seen.min() < FEWEST:
        few = np.flatnonzero(seen < FEWEST)
        raise ValueError(
            f"Body {few[0]} has {seen[few[0]]} keypoints, and {len(few)} bodies have fewer than {FEWEST}: leave them "
            "out, or give `start`."
        )


def _weaker(term: Any) -> Any:
    if not isinstance(term, Keypoints2D | Keypoints3D | HeatMaps):
        return term
    return term._replace(weights=_COARSE * term.weights)


def _rows(terms: Sequence[Any], rows: np.ndarray) -> list[Any]:
    return [jax.tree.map(lambda array: np.asarray(array)[rows], term) for term in terms]


@partial(jax.jit, static_argnames=("parents", "with_sigma"))
def _solve(
    points: Points,
    surface: Points | None,
    parents: tuple[int, ...],
    prior: tuple,
    terms: tuple,
    start: Pose,
    steps: int,
    with_sigma: bool,
) -> tuple[jax.Array, ...]:
    """The fields of `KeypointFit`."""

    def look(pose: Pose) -> Linearised:
        at = linearise(points, parents, pose)
        return at if surface is None else at._replace(surface=linearise(surface, parents, pose))

    pose, found = minimise(lambda pose: total((*terms, *prior), look(pose)), start, steps)
    at = linearise(points, parents, pose)
    return *pose, at.points, found.cost, *([_spread(found.hessian, at.jacobian)] if with_sigma else [])


def _spread(hessian: jax.Array, jacobian: jax.Array) -> jax.Array:
    """(B, K) standard deviations of points, from the inverse of the Hessian of half the cost."""
    batch, keypoints, _, count = jacobian.shape
    scale = jax.lax.rsqrt(jnp.diagonal(hessian, axis1=1, axis2=2) + 1e-12)
    scaled = hessian * scale[:, :, None] * scale[:, None] + 1e-6 * jnp.eye(count)
    covariance = solve_positive(scaled, jnp.broadcast_to(jnp.eye(count), scaled.shape))
    rows = (jacobian * scale[:, None, None]).reshape(batch, -1, count)
    squared = jnp.sum((rows @ covariance) * rows, -1)
    return jnp.sqrt(jnp.maximum(squared.reshape(batch, keypoints, 3).sum(-1), 0))
