"""Pose and shape of a body from its vertices, for networks that predict vertices.

A few rounds, each in closed form. First each joint gets the rotation that best maps the vertices it moves in the fitted
body to the given ones (Kabsch 1976, weighted by skinning weights). Then the betas are solved for: with the rotations
fixed, vertices are linear in them. A body that fits already is not changed, so the rounds converge to the parameters of
a posed body. This is cheap enough to be part of the program of every prediction; labels, which must be exact, are
fitted by `body.fitting`.

Shapes: B batch, n vertices, J joints, S betas.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import skin
from hmr_jax.geometry import nearest_rotation

_ROUNDS = 8
_RIDGE = 1e-2  # pulls betas to 0, in units of their mean effect
_SHARPEN = 4  # power of the skinning weights: vertices that move with one joint alone count most


def parameters_from_vertices(
    body: BodyModel, vertices: jax.Array, vertex_ids: np.ndarray, num_betas: int = 10
) -> tuple[jax.Array, jax.Array]:
    """Rotations and betas whose body comes close to the vertices, up to a translation.

    Args:
        body: the body model.
        vertices: (B, n, 3).
        vertex_ids: (n,) indices of these vertices in the body.
        num_betas: S.

    Returns:
        (B, J, 3, 3) rotations relative to the parent, the first one global, and (B, S) betas.
    """
    weights = np.asarray(body.skinning_weights)[vertex_ids] ** _SHARPEN
    weights = weights / (weights.sum(0) + 1e-9)  # (n, J), columns sum to 1
    batch = vertices.shape[0]
    world = jnp.broadcast_to(jnp.eye(3), (batch, body.num_joints, 3, 3))
    betas = jnp.zeros((batch, num_betas))

    def improve(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        world, betas = state
        fitted = skin(body, betas, _local(body.parents, world), vertex_ids=vertex_ids).vertices
        world = _part_rotations(weights, fitted, vertices) @ world
        return world, _solve_betas(body, _local(body.parents, world), vertices, vertex_ids, num_betas)

    world, betas = jax.lax.fori_loop(0, _ROUNDS, improve, (world, betas))
    return _local(body.parents, world), betas


def _part_rotations(weights: jax.Array, fitted: jax.Array, vertices: jax.Array) -> jax.Array:
    """(n, J), (B, n, 3) twice -> (B, J, 3, 3): the best rotation of each joint's own vertices."""
    # Means are subtracted before the product: a part is small beside its distance from the origin.
    about_mean = [x[:, None] - jnp.einsum("nj,bnc->bjc", weights, x)[:, :, None] for x in (vertices, fitted)]
    covariance = jnp.einsum("nj,bjnc,bjnd->bjcd", weights, *about_mean)
    return nearest_rotation(covariance)


def _local(parents: tuple[int, ...], rotations: jax.Array) -> jax.Array:
    """(B, J, 3, 3) rotations in the common axes -> relative to the parent."""
    of_parents = rotations[:, np.maximum(parents, 0)].at[:, 0].set(jnp.eye(3))
    return jnp.swapaxes(of_parents, -1, -2) @ rotations


def _solve_betas(
    body: BodyModel, rotations: jax.Array, vertices: jax.Array, vertex_ids: np.ndarray, num_betas: int
) -> jax.Array:
    """(B, S) by ridge regression; the translation of the body is free."""
    batch = vertices.shape[0]

    def posed(betas: jax.Array) -> jax.Array:
        points = skin(body, jnp.broadcast_to(betas, (batch, num_betas)), rotations, vertex_ids=vertex_ids).vertices
        return points - points.mean(1, keepdims=True)

    zero = posed(jnp.zeros(num_betas))
    effects = jax.vmap(posed)(jnp.eye(num_betas)) - zero  # (S, B, n, 3)
    error = vertices - vertices.mean(1, keepdims=True) - zero
    gram = jnp.einsum("sbnc,tbnc->bst", effects, effects)
    right = jnp.einsum("sbnc,bnc->bs", effects, error)
    ridge = _RIDGE * jnp.trace(gram, axis1=1, axis2=2)[:, None, None] / num_betas * jnp.eye(num_betas)
    return jnp.linalg.solve(gram + ridge, right[..., None])[..., 0]
