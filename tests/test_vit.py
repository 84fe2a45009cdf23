"""The encoder is ViTPose's, in every configuration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.models.backbones.vit import ViT, resize_position_embedding, unstack_blocks
from hmr_jax.weights import convert_vitpose


@pytest.fixture
def case(reference):
    case = reference("vitpose_backbone")
    state = {name.removeprefix("weights/"): value for name, value in case.items() if name.startswith("weights/")}
    return case, state


def build(case, **options):
    return ViT(int(case["dim"]), int(case["depth"]), int(case["num_heads"]), case["image"].shape[1:3], **options)


@pytest.mark.parametrize("remat", [False, True])
def test_features_equal_reference(case, remat):
    case, state = case
    features = jax.jit(build(case, remat=remat).apply)({"params": convert_vitpose(state)}, case["image"])
    np.testing.assert_allclose(features, case["features"], atol=2e-5 * np.abs(case["features"]).max())


def test_blocks_by_themselves_give_the_same_features(case):
    case, state = case
    params = convert_vitpose(state)
    apart = unstack_blocks({"encoder": params, "decoder": {"blocks": {"kernel": np.ones(2)}}})
    assert apart["decoder"] == {"blocks": {"kernel": apart["decoder"]["blocks"]["kernel"]}}
    assert sum(leaf.size for leaf in jax.tree.leaves(apart["encoder"])) == sum(x.size for x in jax.tree.leaves(params))
    mine, stacked = (jax.jit(build(case).apply)({"params": p}, case["image"]) for p in (apart["encoder"], params))
    np.testing.assert_allclose(mine, stacked, atol=1e-5 * np.abs(stacked).max())


def test_initial_parameters_have_the_shapes_of_converted_ones(case):
    case, state = case
    shapes = jax.eval_shape(build(case).init, jax.random.key(0), case["image"])["params"]
    chex_shapes = jax.tree.map(jnp.shape, convert_vitpose(state))
    assert jax.tree.map(lambda x: x.shape, shapes) == chex_shapes


def test_bfloat16_is_close_and_remat_changes_no_gradient(case):
    case, state = case
    params = convert_vitpose(state)
    features = jax.jit(build(case, dtype=jnp.bfloat16).apply)({"params": params}, case["image"])
    assert features.dtype == jnp.bfloat16
    error = np.abs(features.astype(jnp.float32) - case["features"]).max() / np.abs(case["features"]).max()
    assert error < 0.05

    def gradient(remat):
        total = lambda p: (build(case, remat=remat).apply({"params": p}, case["image"], True) ** 2).sum()  # noqa: E731
        return jax.jit(jax.grad(total))(params)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), gradient(False), gradient(True))


def test_huge_has_the_published_number_of_parameters():
    vit = ViT(1280, 32, 16)
    shapes = jax.eval_shape(vit.init, jax.random.key(0), jnp.zeros((1, 256, 192, 3)))
    total = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
    assert round(total / 1e6, 1) == 630.9


def test_other_image_sizes_are_taken_by_resizing_the_position_embedding(case):
    case, state = case
    features = jax.jit(build(case).apply)({"params": convert_vitpose(state)}, np.zeros((1, 96, 80, 3), np.float32))
    assert features.shape == (1, 6, 5, 48)


def test_resizing_a_linear_embedding_keeps_it_linear():
    y, x = np.mgrid[:8, :6]
    slots = np.concatenate([[[9.0, 9.0]], np.stack([y, x], -1).reshape(-1, 2)]).astype(np.float32)
    resized = resize_position_embedding(slots, (8, 6), (16, 12))
    np.testing.assert_array_equal(resized[0], slots[0])
    inner = resized[1:].reshape(16, 12, 2)[4:12, 4:8]
    np.testing.assert_allclose(np.diff(inner[..., 0], axis=0), 0.5, atol=1e-3)
    np.testing.assert_allclose(np.diff(inner[..., 1], axis=1), 0.5, atol=1e-3)


def test_stochastic_depth_drops_whole_samples_in_training_only():
    vit = ViT(16, 4, 2, (32, 32), drop_path=0.9)
    image = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    variables = jax.jit(vit.init)(jax.random.key(1), image)
    apply = jax.jit(vit.apply, static_argnums=2)
    still = [apply(variables, image, False, rngs={"dropout": jax.random.key(i)}) for i in range(2)]
    np.testing.assert_array_equal(*still)
    moving = [apply(variables, image, True, rngs={"dropout": jax.random.key(i)}) for i in range(4)]
    assert np.ptp(np.stack(moving), axis=0).max() > 1e-3


def test_a_missing_and_a_surplus_tensor_are_named(case):
    _, state = case
    with pytest.raises(KeyError, match=r"no 'blocks\.1\.attn\.qkv\.weight': is it a ViTPose"):
        convert_vitpose({name: value for name, value in state.items() if name != "blocks.1.attn.qkv.weight"})
    with pytest.raises(KeyError, match=r"no 'blocks\.0\.norm1\.weight'"):
        convert_vitpose({})
    with pytest.raises(ValueError, match=r"does not have: head\.weight"):
        convert_vitpose(state | {"head.weight": np.zeros(3)})
