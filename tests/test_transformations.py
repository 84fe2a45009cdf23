"""Networks and kernels under JAX's transformations: mapped, in forward mode, and exported for other platforms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from hmr_jax.batch import zeros
from hmr_jax.config import DecoderConfig, ModelConfig
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params, to_variables
from hmr_jax.ops import attend, depthwise_convolution, sample_points

KERNELS = ("hmr_jax.sample", "hmr_jax.depthwise_gradients")
HMR2 = dataclasses.replace(
    tiny.MODEL, decoder=dataclasses.replace(tiny.MODEL.decoder, queries="single", attention="plain")
)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def close(one, other, tolerance=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance), one, other)


OPERATIONS = {
    "sample_points": (sample_points, normal(0, 2, 6, 5, 8), 2 * normal(1, 2, 4, 9, 2) + 2.3),
    "depthwise_convolution": (
        lambda x, kernel: depthwise_convolution(x, kernel, 2, 1), normal(0, 2, 8, 6, 3, 4), normal(1, 3, 3, 1, 4),
    ),
    "attend": (lambda q, kv: attend(q, kv, kv), normal(0, 2, 5, 2, 4), normal(1, 2, 7, 2, 4)),
}  # fmt: skip


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return OPERATIONS[request.param]


def test_forward_mode_equals_that_of_plain_jax(operation, monkeypatch):
    function, *arguments = operation
    tangents = [normal(9 + i, *array.shape) for i, array in enumerate(arguments)]
    ours = jax.jit(lambda *x: jax.jvp(function, x[:2], x[2:]))(*arguments, *tangents)
    monkeypatch.setenv("HMR_JAX_PLAIN", "1")
    close(ours, jax.jit(lambda *x: jax.jvp(function, x[:2], x[2:]))(*arguments, *tangents))


def test_forward_and_reverse_mode_agree(operation):
    """<w, J v> = <J^T w, v>."""
    function, *arguments = operation
    tangents = [normal(9 + i, *array.shape) for i, array in enumerate(arguments)]
    _, forward = jax.jvp(function, arguments, tangents)
    y, transpose = jax.vjp(function, *arguments)
    weights = normal(20, *y.shape)
    backward = sum(jnp.vdot(gradient, tangent) for gradient, tangent in zip(transpose(weights), tangents, strict=True))
    np.testing.assert_allclose(jnp.vdot(weights, forward), backward, rtol=2e-4, atol=1e-3)


@pytest.mark.parametrize("axes", [(0, 0), (1, None), (None, 0)])
def test_mapping_equals_the_loop_with_gradients(operation, axes):
    function, *arguments = operation
    stacked = [
        array if axis is None else jnp.stack([array * scale for scale in (1.0, 0.5, -0.7)], axis)
        for array, axis in zip(arguments, axes, strict=True)
    ]

    def loss(*x):
        return (function(*x) ** 2).sum()

    mapped = jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1)), axes))(*stacked)
    for row in range(3):
        one = [array if axis is None else jnp.take(array, row, axis) for array, axis in zip(stacked, axes, strict=True)]
        close(jax.tree.map(lambda x, row=row: x[row], mapped), jax.value_and_grad(loss, (0, 1))(*one), 2e-4)


def test_second_derivatives_are_refused_in_one_sentence_and_there_without_kernels(monkeypatch):
    features, points = OPERATIONS["sample_points"][1:]

    def slope(points):
        return jax.grad(lambda p: (sample_points(features, p) ** 2).sum())(points).sum()

    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.grad(slope)(points)
    monkeypatch.setenv("HMR_JAX_PLAIN", "1")
    assert np.isfinite(jax.grad(slope)(points)).all()


@pytest.fixture(scope="module")
def deforhmr():
    model = build_model(tiny.MODEL)
    return model, init_params(model, jax.random.key(0), zeros(1, 32))


def keypoints(model, params, image):
    return model.apply(to_variables(params), {"image": image}, train=False).keypoints_3d


def test_a_network_can_be_mapped_over_batches_and_over_parameters(deforhmr):
    model, params = deforhmr
    images = jnp.asarray(np.stack([tiny.batch(step, 2)["image"] for step in range(3)]))
    loop = jnp.stack([keypoints(model, params, image) for image in images])
    close(jax.jit(jax.vmap(lambda image: keypoints(model, params, image)))(images), loop)
    many = jax.tree.map(lambda x: jnp.stack([x, 0.9 * x]), params)
    both = jax.jit(jax.vmap(lambda params: keypoints(model, params, images[0])))(many)
    close(both[1], keypoints(model, jax.tree.map(lambda x: x[1], many), images[0]))


def test_forward_mode_of_a_network_equals_that_of_plain_jax_and_differences(deforhmr, monkeypatch):
    model, params = deforhmr
    image = jnp.asarray(tiny.batch(0, 2)["image"])
    leaves, structure = jax.tree.flatten(params)
    tangent = jax.tree.unflatten(structure, [0.05 * normal(i, *leaf.shape) for i, leaf in enumerate(leaves)])
    for name in ("mean_pose", "mean_betas", "mean_camera"):  # have no derivative by design
        tangent["head"][name] *= 0

    def forward():
        return jax.jit(lambda p, t: jax.jvp(lambda p: keypoints(model, p, image), (p,), (t,)))(params, tangent)

    value, slope = forward()
    step = 0.01
    ahead, behind = (
        keypoints(model, jax.tree.map(lambda p, t, s=sign: p + s * step * t, params, tangent), image)
        for sign in (1, -1)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), atol=0.01 * np.abs(slope).max())
    monkeypatch.setenv("HMR_JAX_PLAIN", "1")
    close((value, slope), forward())


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("config", [tiny.MODEL, tiny.D2A, HMR2], ids=["deforhmr", "d2a_hmr", "hmr2"])
def test_every_network_is_exported_for_every_platform_from_a_host_with_a_cpu(config: ModelConfig, platform):
    model = build_model(config, platform)
    batch = tiny.d2a_batch(0, 2) if config.name == "d2a_hmr" else tiny.batch(0, 2)
    shown = {name: batch[name] for name in ("image", "pseudo_depth", "has_pseudo_depth") if name in batch}
    variables = jax.eval_shape(model.init, jax.random.key(0), zeros(1, 32))
    allowed = [jax.export.DisabledSafetyCheck.custom_call(name) for name in KERNELS]
    exported = jax.export.export(
        jax.jit(lambda variables, batch: model.apply(variables, batch, train=False).keypoints_3d),
        platforms=[platform], disabled_checks=allowed,
    )(variables, jax.eval_shape(lambda: shown))  # fmt: skip
    assert exported.platforms == (platform,)
    assert exported.out_avals[0].shape == (2, 44, 3)
    ours = any(name in exported.mlir_module() for name in KERNELS)
    assert ours == (platform == "cpu" and config.decoder.attention == "deformable" and config.name == "deforhmr")


def test_an_exported_network_runs_and_needs_no_kernels_where_these_are_off(deforhmr, monkeypatch):
    model, params = deforhmr
    image = tiny.batch(0, 2)["image"]
    wanted = keypoints(model, params, image)
    monkeypatch.setenv("HMR_JAX_PLAIN", "1")
    exported = jax.export.export(jax.jit(lambda params, image: keypoints(model, params, image)))(params, image)
    again = jax.export.deserialize(exported.serialize())
    close(again.call(params, image), wanted)


def test_the_default_decoder_is_the_deformable_one():
    """What the test of exports relies on."""
    assert DecoderConfig().attention == "deformable"
