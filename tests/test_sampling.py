"""Bilinear sampling equals the reference, in both back ends, with gradients also at awkward points."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax import distributed
from hmr_jax.config import MeshConfig
from hmr_jax.ops import sample_points

METHODS = ["matmul", "gather"]


def to_pixels(points, align_corners, height=16, width=12):
    size = jnp.array([width, height], jnp.float32)
    return (points + 1) / 2 * (size - 1) if align_corners else ((points + 1) * size - 1) / 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("align_corners", [0, 1])
def test_values_and_gradients_equal_reference(reference, method, padding, align_corners):
    case = reference("grid_sample")
    name = f"align_{align_corners}_{padding}"

    def sample(values, points):
        return sample_points(values, to_pixels(points, align_corners), method, padding)

    @jax.jit
    def forward_and_backward(values, points, cotangent):
        result, backward = jax.vjp(sample, values, points)
        return result, *backward(cotangent)

    result, grad_values, grad_points = forward_and_backward(case["values"], case["points_xy"], case["cotangent"])
    for mine, key in ((result, name), (grad_values, f"grad_values_{name}"), (grad_points, f"grad_points_{name}")):
        np.testing.assert_allclose(mine, case[key], atol=2e-5 * np.abs(case[key]).max())


@pytest.mark.parametrize("method", METHODS)
def test_gradient_at_whole_coordinates_is_the_right_hand_difference(method):
    features = jax.random.normal(jax.random.key(0), (1, 5, 4, 3))
    points = jnp.array([[[0.0, 0.0], [2.0, 3.0], [3.0, 4.0], [1.0, 2.5], [-1.0, -1.0]]])
    total = jax.jit(lambda p: sample_points(features, p, method).sum(-1))
    gradient = jax.vjp(total, points)[1](jnp.ones((1, 5)))[0]
    step = 1e-3
    for axis in range(2):
        moved = total(points + step * jnp.eye(2)[axis])
        np.testing.assert_allclose(gradient[..., axis], (moved - total(points)) / step, atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_groups_sample_their_own_channels(method):
    features = jax.random.normal(jax.random.key(0), (2, 6, 5, 12))
    points = jax.random.uniform(jax.random.key(1), (2, 3, 7, 2), minval=-1, maxval=6)
    sample = jax.jit(sample_points, static_argnums=2)
    together = sample(features, points, method)
    for group in range(3):
        alone = sample(features[..., 4 * group : 4 * group + 4], points[:, group], method)
        np.testing.assert_allclose(together[..., 4 * group : 4 * group + 4], alone, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 4])
def test_the_kernel_of_cpus_equals_the_product_of_accelerators_with_gradients(monkeypatch, every_device, groups):
    """Inside, on the border and outside the map, on one device and on a batch over eight."""
    features = jax.random.normal(jax.random.key(0), (8, 6, 5, 12))
    points = jax.random.uniform(jax.random.key(1), (8, groups, 40, 2), minval=-2, maxval=7)
    points = jnp.where(jnp.arange(40)[:, None] < 20, jnp.round(points), points)
    mesh = distributed.make_mesh(MeshConfig())
    results = []
    for plain, place in (
        ("1", jnp.asarray),
        ("0", jnp.asarray),
        ("0", lambda x: jax.device_put(x, distributed.batch_sharding(mesh))),
    ):
        monkeypatch.setenv("HMR_JAX_PLAIN", plain)
        y, backward = jax.vjp(jax.jit(lambda *x: sample_points(*x)), place(features), place(points))
        results.append((y, *backward(place(jax.random.normal(jax.random.key(2), y.shape)))))
    for reference, *mine in zip(*results, strict=True):
        for one in mine:
            np.testing.assert_allclose(one, reference, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_point_that_is_no_number_makes_its_sample_none(method):
    sampled = sample_points(jnp.ones((1, 4, 4, 2)), jnp.array([[[1.0, np.nan], [1.0, 1.0], [9.0, 1.0]]]), method)
    np.testing.assert_array_equal(sampled[0, :, 0], [np.nan, 1, 0])


def test_bfloat16_keeps_positions_exact():
    """Weights are computed in float32: a 200-wide ramp sampled in bfloat16 is off by the values' rounding only."""
    ramp = jnp.broadcast_to(jnp.arange(200.0), (1, 2, 200))[..., None].astype(jnp.bfloat16)
    points = jnp.array([[[150.25, 0.5]]])
    np.testing.assert_allclose(sample_points(ramp, points).astype(jnp.float32), 150.25, atol=0.5)


def test_wrong_arguments_are_named():
    features, points = jnp.zeros((2, 4, 4, 6)), jnp.zeros((2, 4, 3, 2))
    with pytest.raises(ValueError, match="divisible by the groups"):
        sample_points(features, points)
    with pytest.raises(ValueError, match="'matmul' or 'gather'"):
        sample_points(features, points[:, :3], method="nearest")


def test_a_process_that_compiles_the_kernel_gets_the_bits_of_one_that_loads_it(tmp_path):
    """A run that goes on in another process must not differ in a last bit."""
    code = (
        "import hashlib, jax, numpy as np; from hmr_jax.ops import sample_points\n"
        "features = jax.random.normal(jax.random.key(0), (2, 16, 12, 64))\n"
        "points = jax.random.uniform(jax.random.key(1), (2, 8, 192, 2), minval=-1, maxval=13)\n"
        "print(hashlib.md5(np.asarray(jax.jit(sample_points)(features, points)).tobytes()).hexdigest())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    first, second = (
        subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*_sample_handler*.nbc")), "nothing was compiled into the cache"
    assert first == second
