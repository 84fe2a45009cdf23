"""ResNet and HRNet equal torchvision's and timm's networks, from their own state dicts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_rule import made_by_rule

from hmr_jax.models.backbones.hrnet import HRNet
from hmr_jax.models.backbones.residual import ConvNorm, he_normal
from hmr_jax.models.backbones.resnet import ResNet
from hmr_jax.weights import convert_hrnet, convert_resnet

CASES = {"resnet50": (ResNet(50), convert_resnet), "hrnet_w40": (HRNet(40), convert_hrnet)}


@pytest.mark.parametrize("name", CASES)
def test_features_equal_reference(reference, name):
    case, (model, convert) = reference(name), CASES[name]
    state = made_by_rule(case["names"], case["shapes"])
    assert sum(value.size for key, value in state.items() if "running_" not in key) == case["parameters"]
    variables = convert(state)
    kept = sum(value.size for value in jax.tree.leaves(variables["params"]))
    assert kept == case["parameters"] - 1000 * 2048 - 1000  # the classifier
    features = jax.jit(model.apply)(variables, case["image"])
    np.testing.assert_allclose(features, case["features"], rtol=0, atol=1e-4 * np.abs(case["features"]).max())


@pytest.mark.parametrize(("model", "millions"), [(ResNet(101), 44.55), (HRNet(64), 128.06)])
def test_parameters_with_the_classifier_are_those_of_published_libraries(model, millions):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))["params"]
    total = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) + 1000 * 2048 + 1000
    assert round(total / 1e6, 2) == millions


@pytest.mark.parametrize("name", CASES)
def test_converters_take_every_tensor_or_name_it(reference, name):
    case, (_, convert) = reference(name), CASES[name]
    ranks = [len(json.loads(str(shape))) for shape in case["shapes"]]
    state = {str(key): np.zeros((1,) * rank, np.float32) for key, rank in zip(case["names"], ranks, strict=True)}
    state |= {key.replace("running_mean", "num_batches_tracked"): np.zeros(()) for key in state if "mean" in key}
    convert(state)
    inside = {f"backbone.{key}": value for key, value in state.items()} | {"trans_encoder.weight": np.zeros(1)}
    assert jax.tree.all(jax.tree.map(np.array_equal, convert(inside, "backbone."), convert(state)))
    with pytest.raises(KeyError, match=r"no 'layer1\.2\.bn3\.running_var': is it"):
        convert({key: value for key, value in state.items() if key != "layer1.2.bn3.running_var"})
    with pytest.raises(ValueError, match=r"does not have: head\.weight"):
        convert(state | {"head.weight": np.zeros(3)})
    with pytest.raises(KeyError, match=r"no 'conv1\.weight'"):
        convert(inside)


def test_batch_norm_uses_running_statistics_and_updates_them_in_training():
    x = np.random.default_rng(0).normal(3, 2, (8, 6, 6, 4)).astype(np.float32)
    model = ConvNorm(5, relu=False)
    variables = model.init(jax.random.key(0), x)
    still = model.apply(variables, x)
    y, changed = model.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(changed["batch_stats"]["norm"]["mean"], 0.1 * still.mean((0, 1, 2)), rtol=1e-3)
    after = model.apply(variables | changed, x)
    assert np.abs(after - still).max() > 0.1
    assert model.clone(dtype=jnp.bfloat16).apply(variables, x).dtype == jnp.bfloat16


def test_statistics_are_those_of_the_whole_batch_over_all_devices():
    x = np.random.default_rng(0).normal(3, 2, (8, 6, 6, 4)).astype(np.float32)
    x += np.arange(8)[:, None, None, None]  # every device's part has a mean of its own
    model = ConvNorm(5)
    variables = model.init(jax.random.key(0), x)

    @jax.jit
    def step(x):
        return model.apply(variables, x, True, mutable=["batch_stats"])

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), step(sharded), step(x))


def test_sizes_that_cannot_be_built_are_refused():
    with pytest.raises(ValueError, match="no ResNet-18: use one of 50, 101"):
        jax.eval_shape(ResNet(18).init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    with pytest.raises(ValueError, match="multiples of 32 pixels, not 64x50"):
        jax.eval_shape(HRNet(8).init, jax.random.key(0), jnp.zeros((1, 64, 50, 3)))


def test_kernels_start_with_hes_variance():
    key, shape = jax.random.key(3), (3, 3, 16, 32)
    kernel = he_normal(key, shape)
    assert kernel.shape == shape
    expected = np.sqrt(2 / (9 * 32)) * jax.random.normal(key, shape)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)
