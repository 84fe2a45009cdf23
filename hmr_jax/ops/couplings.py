"""Affine couplings of RealNVP (Dinh et al. 2017): an invertible map between points x and points z of a standard normal.

A coupling keeps the coordinates of its mask and maps the others, x = z exp(s) + t, where s = tanh(...) and t are
networks with two hidden layers on the kept ones. Always float32.

Shapes: D dimensions of a point, L couplings, F and F' the widths of a layer's input and output.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

SLOPE = 0.01  # of LeakyReLU

Layers = Sequence[tuple[jax.Array, jax.Array]]
"""Kernels (L, 2, F, F') and biases (L, 2, F') of the three layers; axis 1 is (s, t)."""


def from_normal(z: jax.Array, masks: np.ndarray, layers: Layers) -> jax.Array:
    """Points (..., D) of the standard normal -> points x (..., D); masks (L, D) have 1 where a coupling keeps."""

    def coupling(x, params):
        mask, own = params
        s, t = _scale_and_shift(own, x * mask)
        return mask * x + (1 - mask) * (x * jnp.exp(s) + t), None

    return jax.lax.scan(coupling, jnp.asarray(z, jnp.float32), (masks, list(layers)))[0]


def to_normal(x: jax.Array, masks: np.ndarray, layers: Layers) -> tuple[jax.Array, jax.Array]:
    """Points (..., D) -> those of the standard normal, and log |dz / dx| (...)."""

    def coupling(carry, params):
        (x, log_det), (mask, own) = carry, params
        s, t = _scale_and_shift(own, x * mask)
        x = mask * x + (1 - mask) * (x - t) * jnp.exp(-s)
        return (x, log_det - jnp.sum((1 - mask) * s, -1)), None

    start = jnp.asarray(x, jnp.float32), jnp.zeros(x.shape[:-1], jnp.float32)
    return jax.lax.scan(coupling, start, (masks, list(layers)), reverse=True)[0]


def _scale_and_shift(layers: Layers, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
    """s and t (..., D) of a coupling, from its layers' kernels (2, F, F') and biases (2, F')."""
    points = kept.reshape(-1, kept.shape[-1])
    h = jnp.broadcast_to(points, (2, *points.shape))  # the axis of s and t first: twice as fast on CPUs
    for number, (kernel, bias) in enumerate(layers):
        h = jax.nn.leaky_relu(h, SLOPE) if number else h
        h = jnp.einsum("ntd,ndf->ntf", h, kernel, precision="highest") + bias[:, None]
    s, t = h.reshape(2, *kept.shape)
    return jnp.tanh(s), t
