"""What bodies are fitted to: each term takes a body and its points, and gives the equations of its squared residuals.

Residuals are in standard deviations, so terms add up to a negative log-likelihood (times two).

Shapes: B bodies, C cameras, K points, J joints, S betas, P parameters of a step, see `pose`.
"""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from hmr_jax.body.fitting.points import Linearised, seen_by
from hmr_jax.body.fitting.pose import rotation_vectors
from hmr_jax.body.fitting.solver import Equations, robust_squares, squares
from hmr_jax.geometry.cameras import Array


class Term(Protocol):
    """A NamedTuple of arrays, so that terms can be arguments of jitted functions."""

    def __call__(self, at: Linearised, /) -> Equations:
        """The equations of its squared residuals."""


def total(terms: Sequence[Term], at: Linearised) -> Equations:
    """The equations of all terms together."""
    return functools.reduce(operator.add, (term(at) for term in terms))


class Keypoints2D(NamedTuple):
    """Points in the images of one or more cameras."""

    rays: Array
    """(B, C, K, 2) where the points are seen: x / z and y / z in the camera's axes, so without its lens."""
    weights: Array
    """(B, C, K) 1 over the standard deviation of a ray's coordinates; 0: not seen."""
    rotation: Array
    """(B, C, 3, 3) from the body's axes to the camera's."""
    translation: Array
    """(B, C, 3) metres, added after the rotation."""
    robust: Array = 8.0
    """Standard deviations from which on a point no longer matters."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the distances in the images."""
        seen, by_step = seen_by(at, self.rotation, self.translation)
        residual = self.weights[..., None] * (seen - self.rays)
        jacobian = self.weights[..., None, None] * by_step
        batch, views, points, _ = residual.shape
        flat = residual.reshape(batch, views * points, 2)
        return robust_squares(flat, jacobian.reshape(*flat.shape, -1), self.robust)


class Keypoints3D(NamedTuple):
    """Points in space."""

    positions: Array
    """(B, K, 3) metres."""
    weights: Array
    """(B, K) 1 over the standard deviation of a coordinate, 1 / metres; 0: not known."""
    robust: Array = 8.0
    """Standard deviations from which on a point no longer matters."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the distances."""
        weights = self.weights[..., None]
        return robust_squares(weights * (at.points - self.positions), weights[..., None] * at.jacobian, self.robust)


class KeypointsAround(NamedTuple):
    """Points relative to one of them, as networks predict them."""

    positions: Array
    """(B, K, 3) metres, from the root."""
    weights: Array
    """(B, K) 1 over the standard deviation of a coordinate, 1 / metres."""
    root: Array
    """(B,) int, the number of the point that the others are relative to."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the distances."""
        index = self.root[:, None, None]
        points = at.points - jnp.take_along_axis(at.points, index, 1)
        jacobian = at.jacobian - jnp.take_along_axis(at.jacobian, index[..., None], 1)
        weights = self.weights[..., None]
        residual = (weights * (points - self.positions)).reshape(len(points), -1)
        return squares(residual, (weights[..., None] * jacobian).reshape(*residual.shape, -1))


class Shape(NamedTuple):
    """Betas are normal."""

    mean: Array
    """(B, S)."""
    sigma: Array
    """(B, S)."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the betas' distance from the mean."""
        return _diagonal(at, (at.pose.betas - self.mean) / self.sigma, 1 / self.sigma, -3 - self.mean.shape[1])


class Place(NamedTuple):
    """The translation is known to some accuracy."""

    mean: Array
    """(B, 3) metres."""
    sigma: Array
    """(B, 3) metres."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the translation's distance from the mean."""
        return _diagonal(at, (at.pose.translation - self.mean) / self.sigma, 1 / self.sigma, -3)


class NearRotations(NamedTuple):
    """Rotations are near those that are given, a network's prediction for instance."""

    rotations: Array
    """(B, J, 3, 3)."""
    sigma: Array
    """(B, J) radians."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the angles between the rotations."""
        vectors, by_step = rotation_vectors(at.pose.rotations @ jnp.swapaxes(self.rotations, -1, -2))
        return _of_rotations(at, vectors / self.sigma[..., None], by_step / self.sigma[..., None, None], 0)


class Limits(NamedTuple):
    """Rotation vectors of the joints but the first stay between limits."""

    low: Array
    """(J - 1, 3) radians."""
    high: Array
    """(J - 1, 3) radians."""
    sigma: Array = 0.05
    """Radians."""

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the angles beyond the limits."""
        vectors, by_step = rotation_vectors(at.pose.rotations[:, 1:])
        excess = jnp.maximum(vectors - self.high, 0) + jnp.minimum(vectors - self.low, 0)
        outside = (excess != 0)[..., None]
        return _of_rotations(at, excess / self.sigma, jnp.where(outside, by_step, 0) / self.sigma, 1)


def of_body_pose(at: Linearised, residual: jax.Array, by_vector: jax.Array, by_step: jax.Array) -> Equations:
    """The equations of residuals that depend on the rotation vectors of all joints but the first.

    Args:
        at: the body.
        residual: (B, R).
        by_vector: (B, R, 3 (J - 1)) its derivatives by the vectors.
        by_step: (B, J - 1, 3, 3) the vectors' derivatives, see `rotation_vectors`.
    """
    batch, joints = by_step.shape[:2]
    by_joint = by_vector.reshape(batch, -1, joints, 3)
    jacobian = jnp.einsum("brjc,bjcd->brjd", by_joint, by_step).reshape(batch, -1, 3 * joints)
    return squares(residual, _padded(at, jacobian, 3))


def _of_rotations(at: Linearised, residual: jax.Array, by_step: jax.Array, first: int) -> Equations:
    """Residuals (B, j, 3), each of one joint from `first` on, with derivatives (B, j, 3, 3) by its rotation."""
    batch, joints = residual.shape[:2]
    blocks = jnp.eye(joints)[:, None, :, None] * by_step[:, :, :, None]  # (B, j, 3, j, 3)
    jacobian = blocks.reshape(batch, 3 * joints, 3 * joints)
    return squares(residual.reshape(batch, -1), _padded(at, jacobian, 3 * first))


def _diagonal(at: Linearised, residual: jax.Array, slope: jax.Array, first: int) -> Equations:
    """Residuals (B, n), each of one parameter from `first` on."""
    count = at.jacobian.shape[-1]
    rows = jnp.eye(residual.shape[1], count, first % count)
    return squares(residual, slope[..., None] * rows)


def _padded(at: Linearised, jacobian: jax.Array, first: int) -> jax.Array:
    """(B, R, p) by parameters from `first` on -> (B, R, P)."""
    count = at.jacobian.shape[-1]
    return jnp.pad(jacobian, ((0, 0), (0, 0), (first, count - first - jacobian.shape[-1])))
