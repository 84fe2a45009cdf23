"""ResNet and HRNet equal torchvision's and timm's networks, from their own state dicts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_rule import made_by_rule

from hmr_jax.models.hrnet import HRNet
from hmr_jax.models.resnet import ResNet
from hmr_jax.weights import convert_hrnet, convert_resnet

CASES = {"resnet50": (ResNet(50), convert_resnet), "hrnet_w40": (HRNet(40), convert_hrnet)}


@pytest.mark.parametrize("name", CASES)
def test_features_equal_reference(reference, name):
    case, (model, convert) = reference(name), CASES[name]
    state = made_by_rule(case["names"], case["shapes"])
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
