"""RealNVP (Dinh et al. 2017): the density of normalised errors in residual log-likelihood estimation (Li et al. 2021).

Letters: D dimensions of a point, L couplings, F hidden width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

LIMIT = 100.0
"""Coordinates, which are errors in units of their own sigma, are cut off here before their density is taken."""
SLOPE = 0.01  # of LeakyReLU
_MASKS = {2: ((0, 1), (1, 0)), 3: ((0, 0, 1), (1, 1, 0))}  # 1: coordinates that a coupling leaves as they are


class RealNVP(nn.Module):
    """Affine couplings between a standard normal z and points x, in float32 whatever the type of the input.

    A coupling keeps the coordinates of its mask and maps the others, z -> z exp(s) + t, where s = tanh(...) and t are
    functions of the kept ones, each of two hidden layers. One flow serves all tokens: leading axes are free.
    """

    dim: int
    couplings: int = 6
    hidden: int = 64
    identity_init: bool = True
    """Start as the identity, so that the first density is the normal's: the last layers of s and t are zero."""

    def setup(self):
        """The networks of all couplings, stacked; axis 1 is (s, t)."""
        if self.dim not in _MASKS:
            raise ValueError(f"RealNVP is made for points of 2 or 3 dimensions, not {self.dim}.")
        self._masks = np.array([_MASKS[self.dim][i % 2] for i in range(self.couplings)], np.float32)
        dense = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", batch_axis=(0, 1))
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

        Coordinates beyond `LIMIT`, infinite ones too, count as lying there, with gradient 0: no value overflows.
        """
        x = jnp.clip(jnp.asarray(x, jnp.float32), -LIMIT, LIMIT)
        z, log_det = self._to_normal(x)
        return log_det - 0.5 * jnp.sum(z**2, -1) - 0.5 * self.dim * np.log(2 * np.pi)

    def forward(self, z: jax.Array) -> jax.Array:
        """(..., D) points of the standard normal -> (..., D) points of the learned distribution."""
        x = jnp.asarray(z, jnp.float32)
        for i, mask in enumerate(self._masks):
            s, t = self._scale_and_shift(i, x * mask)
            x = mask * x + (1 - mask) * (x * jnp.exp(s) + t)
        return x

    def inverse(self, x: jax.Array) -> jax.Array:
        """The inverse of `forward`."""
        return self._to_normal(jnp.asarray(x, jnp.float32))[0]

    def _to_normal(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Points of the standard normal and log |dz / dx| (...)."""
        log_det = jnp.zeros(x.shape[:-1], jnp.float32)
        for i, mask in reversed(list(enumerate(self._masks))):
            s, t = self._scale_and_shift(i, x * mask)
            x = mask * x + (1 - mask) * (x - t) * jnp.exp(-s)
            log_det -= jnp.sum((1 - mask) * s, -1)
        return x, log_det

    def _scale_and_shift(self, i: int, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        """s and t (..., D) of coupling i."""
        points = kept.reshape(-1, self.dim)
        h = jnp.broadcast_to(points, (2, *points.shape))  # the axis of the networks first: twice as fast on CPUs
        for layer, (kernel, bias) in enumerate(self._layers):
            h = jax.nn.leaky_relu(h, SLOPE) if layer else h
            h = jnp.einsum("ntd,ndf->ntf", h, kernel[i], precision="highest") + bias[i][:, None]
        s, t = h.reshape(2, *kept.shape)
        return jnp.tanh(s), t
