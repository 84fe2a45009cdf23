"""ResNet and HRNet equal torchvision's and timm's networks, from their own state dicts."""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.models.hrnet import HRNet
from hmr_jax.models.resnet import ResNet
from hmr_jax.weights import convert_hrnet, convert_resnet

CASES = {"resnet50": (ResNet(50), convert_resnet), "hrnet_w40": (HRNet(40), convert_hrnet)}


def made_by_rule(case) -> dict[str, np.ndarray]:
    """The reference's weights: their names seed them, so that they need not be stored."""
    state = {}
    for name, text in zip(case["names"], case["shapes"], strict=True):
        rng, shape = np.random.default_rng(zlib.crc32(str(name).encode())), tuple(json.loads(str(text)))
        if len(shape) in (2, 4):
            value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = 1 + 0.2 * rng.random(shape)
        elif name.endswith("running_mean"):
            value = 0.1 * rng.standard_normal(shape)
        elif name.endswith("weight"):
            value = (0.5 if ".bn2." in name or ".bn3." in name else 0.8) + 0.1 * rng.standard_normal(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        state[str(name)] = value.astype(np.float32)
    return state


@pytest.mark.parametrize("name", CASES)
def test_features_equal_reference(reference, name):
    case, (model, convert) = reference(name), CASES[name]
    state = made_by_rule(case)
    assert sum(value.size for key, value in state.items() if "running_" not in key) == case["parameters"]
    variables = convert(state)
    shapes = jax.eval_shape(model.init, jax.random.key(0), case["image"])
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    features = jax.jit(model.apply)(variables, case["image"])
    np.testing.assert_allclose(features, case["features"], rtol=0, atol=1e-4 * np.abs(case["features"]).max())


@pytest.mark.parametrize(
    ("model", "millions"), [(ResNet(50), 25.56), (ResNet(101), 44.55), (HRNet(40), 57.56), (HRNet(64), 128.06)]
)
def test_parameters_with_the_classifier_are_those_of_published_libraries(model, millions):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))["params"]
    total = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) + 1000 * 2048 + 1000
    assert round(total / 1e6, 2) == millions
