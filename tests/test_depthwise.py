"""The depth-wise convolution of CPUs equals XLA's, in value and gradients."""

import jax
import numpy as np
import pytest

from hmr_jax.ops import depthwise_convolution


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(5, 1, 2), (3, 2, 1), (5, 3, 2), (2, 2, 0)])
def test_shifted_products_equal_the_grouped_convolution(monkeypatch, kernel, stride, pad):
    x = jax.random.normal(jax.random.key(0), (2, 8, 6, 3, 4))
    weights = jax.random.normal(jax.random.key(1), (kernel, kernel, 1, 4))
    results = []
    for backend in ("cpu", "gpu"):  # the code for each, both run here
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        y, backward = jax.vjp(lambda x, w: depthwise_convolution(x, w, stride, pad), x, weights)
        results.append((y, *backward(jax.random.normal(jax.random.key(2), y.shape))))
    for mine, reference in zip(*results, strict=True):
        np.testing.assert_allclose(mine, reference, atol=2e-4)
