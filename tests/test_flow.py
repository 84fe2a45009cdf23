"""The flow is a density and invertible; the residual log-likelihood equals the released code's and the equation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax import losses
from hmr_jax.models.flow import LIMIT, RealNVP

rle = jax.jit(losses.residual_log_likelihood_loss, static_argnames="compat")


def converted(case) -> dict:
    """The reference's weights, stacked over couplings and (s, t)."""

    def stack(name):
        return np.stack([[case[f"weights/{net}.{i}.{name}"] for net in "st"] for i in range(6)])

    kernels = {f"kernel{n}": stack(f"{2 * n - 2}.weight").swapaxes(2, 3) for n in (1, 2, 3)}
    return {"params": kernels | {f"bias{n}": stack(f"{2 * n - 2}.bias") for n in (1, 2, 3)}}


def exact_log_prob(variables, x):
    """The density's logarithm in float64, coupling by coupling."""
    layers = [[np.float64(variables["params"][f"{kind}{n}"]) for kind in ("kernel", "bias")] for n in (1, 2, 3)]
    masks = [np.array([(0, 0, 1), (1, 1, 0)][i % 2]) for i in range(len(layers[0][0]))]
    log_det = 0
    for i in reversed(range(len(masks))):
        nets = []
        for net in range(2):
            h = x * masks[i]
            for number, (kernel, bias) in enumerate(layers):
                h = np.where(h > 0, h, 0.01 * h) if number else h
                h = h @ kernel[i, net] + bias[i, net]
            nets.append(h)
        s, t = np.tanh(nets[0]), nets[1]
        x = masks[i] * x + (1 - masks[i]) * (x - t) * np.exp(-s)
        log_det = log_det - ((1 - masks[i]) * s).sum(-1)
    return log_det - 0.5 * (x**2).sum(-1) - 1.5 * np.log(2 * np.pi)


def random_flow(dim):
    """A flow that is far from the identity."""
    flow = RealNVP(dim, hidden=16, identity_init=False)
    shapes = jax.eval_shape(flow.init, jax.random.key(0), jnp.zeros((1, dim)))
    rng = np.random.default_rng(0)

    def fill(x):
        scale = np.sqrt(2 / (x.shape[-2] + x.shape[-1])) if x.ndim == 4 else 0.1
        return scale * rng.standard_normal(x.shape, np.float32)

    return flow, jax.tree.map(fill, shapes)


QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer here than running


@functools.partial(jax.jit, static_argnums=(0, 3), compiler_options=QUICK)
def apply(flow, variables, x, method="log_prob"):
    return flow.apply(variables, x, method=method)


@pytest.mark.parametrize("dim", [2, 3])
def test_loss_and_gradients_equal_the_released_code(reference, dim):
    case = reference(f"rle_{dim}d")
    flow, variables = RealNVP(dim), converted(case)
    target = np.concatenate([case["target"], np.ones((3, 14, 1), np.float32)], -1)

    def loss(mu, sigma):
        log_phi = flow.apply(variables, losses.normalized_error(mu, sigma, target))
        sums = losses.residual_log_likelihood_loss(mu, sigma, target, log_phi, compat=True, weight=case["weight"])
        return sums.sum() / 3, (sums, log_phi)

    both = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), compiler_options=QUICK)
    (value, (sums, log_phi)), gradients = both(case["mu"], case["sigma"])
    assert sums.shape == (3,)
    np.testing.assert_allclose(log_phi, case["log_phi"][..., 0], rtol=1e-4)
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    for gradient, name in zip(gradients, ("grad_mu", "grad_sigma"), strict=True):
        np.testing.assert_allclose(gradient, case[name], rtol=1e-4, atol=1e-4 * np.abs(case[name]).max())


@pytest.mark.parametrize("dim", [2, 3])
def test_inverse_of_forward_is_the_identity(dim):
    flow, variables = random_flow(dim)
    z = np.random.default_rng(1).standard_normal((5, 7, dim), np.float32)
    x = apply(flow, variables, z, "forward")
    assert np.abs(x - z).max() > 0.5
    np.testing.assert_allclose(apply(flow, variables, x, "inverse"), z, atol=2e-5)


def test_log_determinant_equals_that_of_the_jacobian():
    dim = 3
    flow, variables = random_flow(dim)
    points = 2 * np.random.default_rng(2).standard_normal((6, dim), np.float32)

    def inverse(x):
        return apply(flow, variables, x, "inverse")

    _, log_det = jnp.linalg.slogdet(jax.vmap(jax.jacfwd(inverse))(points))
    normal = -0.5 * jnp.sum(inverse(points) ** 2, -1) - dim / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(apply(flow, variables, points), normal + log_det, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dim", "reach", "cells", "tolerance"), [(2, 20, 200, 1e-3), (3, 12, 72, 1e-3)])
def test_density_integrates_to_one(dim, reach, cells, tolerance):
    flow, variables = random_flow(dim)
    side = np.linspace(-reach, reach, cells, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[side] * dim, indexing="ij"), -1).reshape(-1, dim)
    density = np.exp(apply(flow, variables, grid))
    integral = float(density.sum()) * (side[1] - side[0]) ** dim
    assert abs(integral - 1) < tolerance
    # and it is the density of what `forward` makes of the normal: means over samples equal those over the grid
    samples = apply(flow, variables, np.random.default_rng(3).standard_normal((20_000, dim), np.float32), "forward")
    mean = (density[:, None] * grid).sum(0) / density.sum()
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.05)


def test_a_new_flow_is_the_standard_normal():
    flow = RealNVP(3)
    x = np.random.default_rng(0).standard_normal((4, 3), np.float32)
    log_prob, variables = jax.jit(flow.init_with_output, compiler_options=QUICK)(jax.random.key(1), x)
    np.testing.assert_allclose(log_prob, -((x**2).sum(-1) + 3 * np.log(2 * np.pi)) / 2, rtol=1e-5)
    kernels = variables["params"]
    assert not kernels["kernel3"].any()
    assert np.abs(kernels["kernel2"]).min() > 0  # and it can leave that state: no layer before the last one is dead
    with pytest.raises(ValueError, match="2 or 3 dimensions, not 4"):
        RealNVP(4).init(jax.random.key(0), jnp.zeros((1, 4)))


def test_loss_is_the_likelihood_of_the_papers_equation():
    rng = np.random.default_rng(0)
    mu, sigma = rng.normal(size=(2, 5, 3)), rng.uniform(0.1, 1, (2, 5, 3))
    target = np.concatenate([rng.normal(size=(2, 5, 3)), rng.uniform(0, 1, (2, 5, 1))], -1)
    log_phi = rng.normal(size=(2, 5))
    each = -np.log(0.5 * np.exp(-np.abs(mu - target[..., :3]) / sigma) / sigma).sum(-1) - log_phi
    loss = rle(mu, sigma, target, log_phi)
    np.testing.assert_allclose(loss, (target[..., 3] * each).sum(1), rtol=1e-5)
    # a token without depth: only its other coordinates count
    weight = np.ones((2, 5, 3))
    weight[:, 0, 2] = 0
    partial = rle(mu, sigma, target, log_phi, weight=weight)
    gone = np.log(2 * sigma[:, 0, 2]) + np.abs(mu - target[..., :3])[:, 0, 2] / sigma[:, 0, 2] - log_phi[:, 0]
    np.testing.assert_allclose(loss - partial, target[:, 0, 3] * gone, rtol=1e-4, atol=1e-5)


def test_sigma_that_fits_the_errors_costs_least():
    target = np.concatenate([np.random.default_rng(0).laplace(0, 0.3, (1, 4000, 3)), np.ones((1, 4000, 1))], -1)
    zeros = np.zeros((1, 4000, 3))
    costs = [rle(zeros, zeros + s, target, zeros[..., 0])[0] for s in (0.2, 0.3, 0.45)]
    assert costs[1] < min(costs[0], costs[2])


@pytest.mark.parametrize(("compat", "dtype"), [(False, jnp.float32), (True, jnp.bfloat16)])
def test_overflow_and_missing_labels_leave_values_and_gradients_finite(compat, dtype):
    flow, variables = random_flow(3)
    mu = jnp.array([[[0, 0, 0], [3e38, -3e38, 1], [jnp.inf, 0, 0], [1, 2, 3]]], dtype)
    sigma = jnp.array([[[1e-30, 1, 1], [1e-38, 1e-38, 3e38], [1, 0, 1], [1, 1, 1]]], dtype)
    target = jnp.array([[[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [jnp.nan, jnp.inf, 0, 0]]], jnp.float32)

    def loss(variables, mu, sigma):
        log_phi = flow.apply(variables, losses.normalized_error(mu, sigma, target))
        return losses.residual_log_likelihood_loss(mu, sigma, target, log_phi, compat).sum()

    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2)), compiler_options=QUICK)(variables, mu, sigma)
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.isfinite(x.astype(jnp.float32)).all() for x in jax.tree.leaves(gradients))
    assert gradients[1].dtype == dtype
    assert not np.asarray(gradients[1], np.float32)[0, 3].any()  # the token without a label
    far = [apply(flow, variables, np.full((1, 3), x, np.float32)) for x in (np.inf, LIMIT)]
    np.testing.assert_array_equal(*far)


def test_the_density_is_exact_however_many_sigmas_away(reference):
    """Cut off at 100 sigma, the loss of an error of 1,900 was a 350th of the released code's."""
    variables = converted(reference("rle_3d"))
    points = np.random.default_rng(0).standard_normal((6, 3)) * np.float64([[1, 99, 101, 1.9e3, 1e6, 1e9]]).T
    found = apply(RealNVP(3), variables, points.astype(np.float32))
    np.testing.assert_allclose(found, exact_log_prob(variables, np.float64(np.float32(points))), rtol=1e-5)


def test_bfloat16_inputs_are_computed_in_float32():
    flow, variables = random_flow(2)
    x = np.random.default_rng(0).standard_normal((1, 2)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(apply(flow, variables, x), apply(flow, variables, x.astype(np.float32)))
