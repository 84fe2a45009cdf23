import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.ops import attend, gelu
from hmr_jax.ops.cpu import portable


def inputs(dtype=jnp.float32, tokens=50):
    keys = jax.random.split(jax.random.key(0), 4)
    query = 3 * jax.random.normal(keys[0], (2, tokens, 3, 8), dtype)
    key, value = jax.random.normal(keys[1], (2, 2, 70, 3, 8), dtype)
    return query, key, value, jax.random.normal(keys[2], (1, 3, tokens, 70), dtype)


@pytest.mark.parametrize("with_bias", [False, True])
def test_attention_and_its_gradients_equal_the_library_s(with_bias):
    *tensors, bias = inputs()
    arguments = (*tensors, bias if with_bias else None)
    weigh = jax.random.normal(jax.random.key(9), tensors[0].shape)

    def loss(attention):
        return jax.jit(jax.grad(lambda arguments: (weigh * attention(*arguments)).sum()))(arguments)

    wanted = jax.jit(jax.nn.dot_product_attention)(*arguments)
    np.testing.assert_allclose(jax.jit(attend)(*arguments), wanted, atol=2e-6)
    for gradient, other in zip(
        jax.tree.leaves(loss(attend)), jax.tree.leaves(loss(jax.nn.dot_product_attention)), strict=True
    ):
        np.testing.assert_allclose(gradient, other, atol=1e-5)


def test_half_precision_keeps_its_type_and_a_softmax_of_float32():
    *tensors, bias = inputs(jnp.bfloat16)
    y = jax.jit(attend)(*tensors, bias)
    assert y.dtype == jnp.bfloat16
    exact = jax.nn.dot_product_attention(*(x.astype(jnp.float32) for x in (*tensors, bias)))
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.02)


def test_large_scores_do_not_overflow():
    query, key, value, _ = inputs()
    y = attend(1e4 * query, key, value)
    np.testing.assert_allclose(y, jax.nn.dot_product_attention(1e4 * query, key, value), atol=1e-6)


def test_gelu_equals_the_exact_function_and_its_derivative():
    x = np.linspace(-12, 12, 4001)
    erf = np.vectorize(math.erf)
    half = 0.5 * (1 + erf(x / 2**0.5))
    np.testing.assert_allclose(jax.jit(gelu)(x.astype(np.float32)), x * half, atol=2e-6)
    slope = jax.jit(jax.vmap(jax.grad(gelu)))(x.astype(np.float32))
    np.testing.assert_allclose(slope, half + x * np.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5, atol=2e-6)


def test_gelu_of_exported_programs_is_as_exact():
    x = np.linspace(-12, 12, 4001)
    half = 0.5 * (1 + np.vectorize(math.erf)(x / 2**0.5))
    with portable():
        program = jax.make_jaxpr(lambda x: gelu(x))(x.astype(np.float32))  # JAX keeps what it traced of gelu itself
        np.testing.assert_allclose(gelu(x.astype(np.float32)), x * half, atol=2e-6)
    assert "erf" not in {equation.primitive.name for equation in program.eqns}


def test_gelu_of_half_precision_keeps_its_relative_precision_below_zero():
    x = jnp.linspace(-4, -1, 301, dtype=jnp.bfloat16)
    y = gelu(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), gelu(x.astype(jnp.float32)), rtol=0.05, atol=0)
