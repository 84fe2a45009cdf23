"""Levenberg-Marquardt on many bodies at once: the normal equations of each body are small, dense and solved directly.

Shapes: B bodies, R residuals, K points, P parameters of a step, see `pose`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hmr_jax.body.fitting.pose import Pose, count_parameters, move
from hmr_jax.geometry.cameras import Array


class Equations(NamedTuple):
    """The normal equations of a sum of squares; those of several sums add up."""

    hessian: jax.Array
    """(B, P, P), of Gauss and Newton."""
    gradient: jax.Array
    """(B, P), half of the cost's."""
    cost: jax.Array
    """(B,)."""

    def __add__(self, other: "Equations") -> "Equations":  # type: ignore[override]
        return Equations(*(mine + its for mine, its in zip(self, other, strict=True)))


def squares(residual: jax.Array, jacobian: jax.Array) -> Equations:
    """The equations of the sum of squared residuals (B, R) with derivatives (B, R, P)."""
    hessian = jnp.einsum("brp,brq->bpq", jacobian, jacobian)
    return Equations(hessian, jnp.einsum("brp,br->bp", jacobian, residual), jnp.sum(residual**2, 1))


def robust_squares(residual: jax.Array, jacobian: jax.Array, scale: jax.Array | float) -> Equations:
    """The same of points that may be far off: s^2 / (1 + s^2 / scale^2) of each point's s (Geman and McClure 1985).

    Args:
        residual: (B, K, D) of each point.
        jacobian: (B, K, D, P).
        scale: (B,) or of all bodies, in units of the residual; far beyond it, a point no longer matters.
    """
    batch, points, size = residual.shape
    squared = jnp.sum(residual**2, -1)
    share = robust_share(squared, jnp.reshape(scale, (-1, 1)))  # its square is the cost's derivative by `squared`
    weighted = squares(
        (share[..., None] * residual).reshape(batch, points * size),
        (share[..., None, None] * jacobian).reshape(batch, points * size, -1),
    )
    return weighted._replace(cost=jnp.sum(squared * share, 1))


def robust_share(squared: Array, scale: Array | float) -> Array:
    """By what `robust_squares` multiplies squared residuals, of arrays of JAX or NumPy."""
    return 1 / (1 + squared / scale**2)


def minimise(
    equations_of: Callable[[Pose], Equations],
    pose: Pose,
    steps: int | jax.Array,
    enough: float = 1e-3,
    exact: float = 0.0,
) -> tuple[Pose, Equations]:
    """Poses near `pose` at a minimum of the cost; call it in a jitted function.

    A step that does not lower a body's cost is taken back, so the cost never rises.

    Args:
        equations_of: the equations at a pose.
        pose: to start from.
        steps: at most.
        enough: a body is done when a step gains less than this share of its cost.
        exact: or when its cost is below this.

    Returns:
        The poses, and their equations.
    """
    batch, count = len(pose.betas), count_parameters(pose)
    # The first step moves nothing, it computes the equations of the start: so the program holds them only once.
    none = Equations(jnp.zeros((batch, count, count)), jnp.zeros((batch, count)), jnp.full(batch, jnp.inf))
    damping = jnp.full(batch, 1e-2)

    def unfinished(state: tuple) -> jax.Array:
        return (state[0] <= steps) & state[-1].any()

    def step(state: tuple) -> tuple:
        number, pose, equations, damping, _ = state
        moved = move(pose, _step(equations, damping))
        tried = equations_of(moved)
        better = tried.cost < equations.cost  # false for NaN, too

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        gain = jnp.abs(equations.cost - tried.cost)
        going = gain > enough * jnp.minimum(equations.cost, tried.cost)
        pose, equations = jax.tree.map(keep, (moved, tried), (pose, equations))
        damping = jnp.clip(damping * jnp.where(better, 0.1, 10.0), 1e-7, 1e3)
        return number + 1, pose, equations, damping, (equations.cost > exact) & going

    _, pose, equations, *_ = jax.lax.while_loop(unfinished, step, (0, pose, none, damping, damping > 0))
    return pose, equations


def _step(equations: Equations, damping: jax.Array) -> jax.Array:
    """(B, P). Scaled to a unit diagonal, so that one damping suits both betas and radians."""
    scale = jax.lax.rsqrt(jnp.diagonal(equations.hessian, axis1=1, axis2=2) + 1e-12)  # (B, P)
    scaled = equations.hessian * scale[:, :, None] * scale[:, None]
    scaled += (damping[:, None, None] + 1e-6) * jnp.eye(scaled.shape[-1])
    return -scale * solve_positive(scaled, (scale * equations.gradient)[..., None])[..., 0]


def solve_positive(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """x of matrix x = right, for positive definite matrices (B, P, P) and right sides (B, P, R).

    Gauss-Jordan elimination, which needs no pivots here. LAPACK, which `jnp.linalg` calls on CPUs, would be faster, but
    two threads that run such programs at once block each other for ever (jaxlib 0.10.2, two cores).
    """
    count = matrix.shape[-1]

    def eliminate(k: jax.Array, both: jax.Array) -> jax.Array:
        row = both[:, k] / both[:, k, k, None]
        column = both[:, :, k].at[:, k].set(0)
        return (both - column[..., None] * row[:, None]).at[:, k].set(row)

    return jax.lax.fori_loop(0, count, eliminate, jnp.concatenate([matrix, right], -1))[..., count:]
