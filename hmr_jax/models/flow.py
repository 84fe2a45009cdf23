"""RealNVP (Dinh et al. 2017): the density of normalised errors in residual log-likelihood estimation (Li et al. 2021).

Shapes: D dimensions of a point, F and F' the widths of a layer's input and output.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

LIMIT = 1e10
"""Coordinates, which are errors in units of their own sigma, are clipped to it, the largest that the loss can form.

Only the logarithm of a density is ever formed, so it is exact up to there, where the density itself is long 0.
"""
SLOPE = 0.01  # of LeakyReLU
_MASKS = {2: ((0, 1), (1, 0)), 3: ((0, 0, 1), (1, 1, 0))}  # 1: coordinates that a coupling keeps


class RealNVP(nn.Module):
    """Affine couplings between a standard normal z and points x, always in float32.

    A coupling keeps the coordinates of its mask and maps the others, z -> z exp(s) + t, where s = tanh(...) and t are
    networks with two hidden layers on the kept ones. All tokens share one flow: leading axes are arbitrary.
    """

    dim: int
    couplings: int = 6
    hidden: int = 64
    identity_init: bool = True
    """Whether the last layers of s and t start at zero, so that the initial density is the standard normal's."""

    def setup(self) -> None:
        """Creates the networks of all couplings, stacked along axis 0; axis 1 is (s, t)."""
        if self.dim not in _MASKS:
            raise ValueError(f"RealNVP is made for points of 2 or 3 dimensions, not {self.dim}.")
        self._masks = np.array([_MASKS[self.dim][i % 2] for i in range(self.couplings)], np.float32)

        def dense(key, shape):
            """Glorot's uniform, drawn as one vector, which compiles faster on CPUs."""
            limit = np.sqrt(6 / (shape[-2] + shape[-1]))
            return jax.random.uniform(key, (int(np.prod(shape)),), minval=-limit, maxval=limit).reshape(shape)

        zeros = nn.initializers.zeros_init()
        sizes = [(self.dim, self.hidden), (self.hidden, self.hidden), (self.hidden, self.dim)]
        self._layers = [
            (
                self.param(f"kernel{i}", zeros if i == 3 and self.identity_init else dense, (self.couplings, 2, *size)),
                self.param(f"bias{i}", zeros, (self.couplings, 2, size[1])),
            )
            for i, size in enumerate(sizes, 1)
        ]

    def __call__(self, x: jax.Array) -> jax.Array:
        """`log_prob`."""
        return self.log_prob(x)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """(..., D) points -> (...) natural logarithms of their densities.

        Coordinates are clipped to `LIMIT`, infinite ones too, with gradient 0 beyond it, so that no square overflows.
        """
        x = jnp.clip(jnp.asarray(x, jnp.float32), -LIMIT, LIMIT)
        z, log_det = self._to_normal(x)
        return log_det - 0.5 * jnp.sum(z**2, -1) - 0.5 * self.dim * np.log(2 * np.pi)

    def forward(self, z: jax.Array) -> jax.Array:
        """(..., D) points of the standard normal -> (..., D) points of the learned distribution."""

        def coupling(x, params):
            mask, layers = params
            s, t = _scale_and_shift(layers, x * mask)
            return mask * x + (1 - mask) * (x * jnp.exp(s) + t), None

        return jax.lax.scan(coupling, jnp.asarray(z, jnp.float32), (self._masks, self._layers))[0]

    def inverse(self, x: jax.Array) -> jax.Array:
        """The inverse of `forward`."""
        return self._to_normal(jnp.asarray(x, jnp.float32))[0]

    def _to_normal(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Points (..., D) -> those of the standard normal, and log |dz / dx| (...)."""

        def coupling(carry, params):
            (x, log_det), (mask, layers) = carry, params
            s, t = _scale_and_shift(layers, x * mask)
            x = mask * x + (1 - mask) * (x - t) * jnp.exp(-s)
            return (x, log_det - jnp.sum((1 - mask) * s, -1)), None

        start = x, jnp.zeros(x.shape[:-1], jnp.float32)
        return jax.lax.scan(coupling, start, (self._masks, self._layers), reverse=True)[0]


def _scale_and_shift(layers: list[tuple[jax.Array, jax.Array]], kept: jax.Array) -> tuple[jax.Array, jax.Array]:
    """s and t (..., D) of a coupling, from its layers' kernels (2, F, F') and biases (2, F')."""
    points = kept.reshape(-1, kept.shape[-1])
    h = jnp.broadcast_to(points, (2, *points.shape))  # the axis of s and t first: twice as fast on CPUs
    for number, (kernel, bias) in enumerate(layers):
        h = jax.nn.leaky_relu(h, SLOPE) if number else h
        h = jnp.einsum("ntd,ndf->ntf", h, kernel, precision="highest") + bias[:, None]
    s, t = h.reshape(2, *kept.shape)
    return jnp.tanh(s), t
