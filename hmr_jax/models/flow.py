"""RealNVP (Dinh et al. 2017): the density of normalised errors in residual log-likelihood estimation (Li et al. 2021).

Shapes: D dimensions of a point.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.ops.couplings import from_normal, to_normal

LIMIT = 1e10
"""Coordinates, which are errors in units of their own sigma, are clipped to it, the largest that the loss can form.

Only the logarithm of a density is ever formed, so it is exact up to there, where the density itself is long 0.
"""
_MASKS = {2: ((0, 1), (1, 0)), 3: ((0, 0, 1), (1, 1, 0))}  # 1: coordinates that a coupling keeps


class RealNVP(nn.Module):
    """Affine couplings, see `ops.couplings`. All tokens share one flow: leading axes are arbitrary."""

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
        z, log_det = to_normal(x, self._masks, self._layers)
        return log_det - 0.5 * jnp.sum(z**2, -1) - 0.5 * self.dim * np.log(2 * np.pi)

    def forward(self, z: jax.Array) -> jax.Array:
        """(..., D) points of the standard normal -> (..., D) points of the learned distribution."""
        return from_normal(z, self._masks, self._layers)

    def inverse(self, x: jax.Array) -> jax.Array:
        """The inverse of `forward`."""
        return to_normal(x, self._masks, self._layers)[0]
