"""The activation of transformers."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.ops.cpu import is_portable

_FLAT = 4.0  # erf is 1 within float32's rounding from here on
_DEGREE = 18


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016), elementwise.

    float32 is computed as written, as in PyTorch and with the same error (1.3e-6): on CPUs XLA's erf takes a third of
    the time of the erfc in `nn.gelu`. Half precision uses erfc, since 1 + erf would be inexact below zero.
    """
    if x.dtype != jnp.float32:
        return nn.gelu(x, approximate=False)
    erf = erf_by_polynomial if is_portable() else jax.lax.erf
    return x * (0.5 + 0.5 * erf(x * jnp.float32(0.5**0.5)))


def erf_by_polynomial(x: jax.Array) -> jax.Array:
    """erf of float32 numbers by sums and products alone, with an error of 2e-7.

    For programs that are exported: JAX writes its own erf as an operation that is newer than what TensorFlow reads.
    """
    x = jnp.clip(x, -_FLAT, _FLAT)
    t = x * x * np.float32(2 / _FLAT**2) - 1  # of Chebyshev's polynomials, in [-1, 1]
    first, *others = _coefficients()
    after, now = jnp.zeros_like(t), jnp.zeros_like(t)  # Clenshaw's recurrence, from the highest degree down
    for coefficient in reversed(others):
        after, now = now, 2 * t * now - after + coefficient
    return x * (t * now - after + first)


@functools.cache
def _coefficients() -> tuple[np.float32, ...]:
    """Of erf(x) / x as a polynomial in 2 x^2 / _FLAT^2 - 1."""

    points = np.polynomial.chebyshev.chebpts1(_DEGREE + 1)
    roots = _FLAT * np.sqrt((points + 1) / 2)
    ratios = [math.erf(x) / x for x in roots]
    return tuple(np.polynomial.chebyshev.chebfit(points, ratios, _DEGREE).astype(np.float32))
