import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.ops.dense import flat_dot_general

LAST_AND_FIRST = (((2,), (0,)), ((), ()))


def value_and_gradients(product, features, kernel):
    weigh = jax.random.normal(jax.random.key(1), (*features.shape[:-1], kernel.shape[1]))
    return jax.jit(jax.value_and_grad(lambda *pair: (weigh * product(*pair, LAST_AND_FIRST)).sum(), (0, 1)))(
        features, kernel
    )


@pytest.mark.parametrize("columns", [5, 512])
def test_a_linear_layer_and_its_gradients_equal_the_contraction(columns):
    features = jax.random.normal(jax.random.key(2), (3, 4, 64))
    kernel = jax.random.normal(jax.random.key(3), (64, columns)) / 8
    ours = value_and_gradients(flat_dot_general, features, kernel)
    for array, wanted in zip(
        jax.tree.leaves(ours), jax.tree.leaves(value_and_gradients(jax.lax.dot_general, features, kernel)), strict=True
    ):
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_another_contraction_is_an_error():
    with pytest.raises(ValueError, match="contracts the last axis with the first"):
        flat_dot_general(jnp.ones((3, 4)), jnp.ones((4, 3)), (((0,), (1,)), ((), ())))
