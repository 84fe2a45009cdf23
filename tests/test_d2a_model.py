"""The two streams, the gates, masking and heads of D2A-HMR do what the paper's figure and docs/d2a.md say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from hmr_jax import losses
from hmr_jax.batch import zeros
from hmr_jax.body import load_body_model, load_coarse_mesh
from hmr_jax.config import D2AConfig, LossConfig
from hmr_jax.models import build_model
from hmr_jax.models.depth_fusion import DepthFusion, GatedFusion, MaskTokens
from hmr_jax.models.parameters import init_params, to_variables
from hmr_jax.models.regressors import VertexHead, template_points
from hmr_jax.models.silhouette import SilhouetteDecoder
from hmr_jax.training import objective

SMALL = D2AConfig(dim=16, depth=2, num_heads=2, mlp_dim=32, dropout=0.0)
QUICK = {"xla_backend_optimization_level": 0}


def quick(function):
    return jax.jit(function, compiler_options=QUICK)


def maps(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def fusion():
    """A small fusion with parameters large enough to see, as a function of both maps and the flag."""
    module = DepthFusion(SMALL)
    image, depth = maps(0, (2, 3, 2, 8)), maps(1, (2, 6, 4, 5))
    params = quick(module.init)(jax.random.key(0), image, depth, jnp.ones(2))["params"]
    return quick(lambda image, depth, has: module.apply({"params": params}, image, depth, has)), image, depth


def test_depth_of_another_map_size_moves_the_tokens_and_a_missing_map_does_not(fusion):
    run, image, depth = fusion
    tokens, gates = run(image, depth, jnp.ones(2))
    assert tokens.shape == (2, 6, 16)
    assert gates.shape == (2, 2, 3, 2, 3)
    assert np.abs(tokens - run(image, depth + 1, jnp.ones(2))[0]).max() > 1e-3
    missing = run(image, depth, jnp.zeros(2))[0]
    np.testing.assert_array_equal(missing, run(image, np.full_like(depth, np.nan), jnp.zeros(2))[0])
    assert np.abs(tokens - missing).max() > 1e-3


def test_softmax_gates_start_on_the_image_and_sum_to_one(fusion):
    run, image, depth = fusion
    _, gates = run(image, depth, jnp.ones(2))
    np.testing.assert_allclose(gates.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(gates.mean((0, 1, 2, 3)), np.exp([2, 0, 0]) / np.exp([2, 0, 0]).sum(), atol=0.05)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_each_gate_weighs_its_own_stream(kind):
    """With the gate's inputs shut off by zero kernels the fusion is linear with the known shares."""
    module = GatedFusion(kind)
    streams = [maps(seed, (1, 4, 8)) for seed in range(3)]
    params = module.init(jax.random.key(0), *streams)["params"]
    params["gate"]["kernel"] = jnp.zeros_like(params["gate"]["kernel"])
    bias = jnp.log(jnp.array([1.0, 2.0, 5.0])) if kind == "softmax" else jnp.full(8, -jnp.log(3.0))
    fused, gates = module.apply({"params": params | {"gate": params["gate"] | {"bias": bias}}}, *streams)
    shares = [1 / 8, 2 / 8, 5 / 8] if kind == "softmax" else [1, 1 / 4, 0]
    np.testing.assert_allclose(fused, sum(s * x for s, x in zip(shares, streams, strict=True)), atol=1e-5)
    np.testing.assert_allclose(gates[0, 0], shares, atol=1e-6)


def test_masking_is_for_training_only_and_replaces_no_more_than_its_ratio():
    module = MaskTokens(0.5)
    tokens = maps(0, (200, 12, 4))
    params = {"vector": jnp.full((1, 1, 4), 9.0)}
    key = {"dropout": jax.random.key(3)}
    np.testing.assert_array_equal(module.apply({"params": params}, tokens, False, rngs=key), tokens)
    mask = quick(lambda tokens: module.apply({"params": params}, tokens, True, rngs=key))
    masked = mask(tokens)
    replaced = (masked == 9).all(-1)
    counts = replaced.sum(1)
    np.testing.assert_array_equal(np.where(replaced[..., None], tokens, masked), tokens)  # the others are untouched
    assert counts.max() <= 6
    assert counts.min() == 0
    assert 1.8 < counts.mean() < 3.2  # the mean of floor(u 6), u uniform, is 2.5
    assert replaced.sum(0).min() > 10  # every place is masked now and then
    np.testing.assert_array_equal(masked, mask(tokens))


def test_the_silhouette_decoder_doubles_its_map_at_each_stage():
    module = SilhouetteDecoder((16, 8, 8, 8))
    tokens, features = maps(0, (1, 6, 16)), maps(1, (1, 3, 2, 5))
    out, _ = quick(module.init_with_output)(jax.random.key(0), tokens, features)
    assert out.shape == (1, 48, 32)


SHAPES = {
    "global_orient": (2, 1, 3, 3), "body_pose": (2, 23, 3, 3), "betas": (2, 10), "camera": (2, 3), "sigma": (2, 44),
    "joints": (2, 24, 3), "keypoints_3d": (2, 44, 3), "keypoints_2d": (2, 44, 2), "silhouette": (2, 8, 8),
    "vertices": (2, 6890, 3), "gates": (2, 1, 2, 2, 3),
}  # fmt: skip


@pytest.mark.parametrize("depth_stream", ["own", "shared"])
@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize("mask_at", ["input", "output"])
def test_the_parameter_head_has_every_field_with_every_option(depth_stream, gate, mask_at):
    d2a = dataclasses.replace(tiny.D2A.d2a, head="smpl", depth_stream=depth_stream, gate=gate, mask_at=mask_at)
    model = build_model(dataclasses.replace(tiny.D2A, d2a=d2a))
    variables = jax.eval_shape(model.init, jax.random.key(0), zeros(1, 32))
    assert ("depth_encoder" in variables["params"]) == (depth_stream == "own")
    output = jax.eval_shape(model.apply, variables, tiny.d2a_batch(0, size=2))
    assert {name: getattr(output, name).shape for name in SHAPES} == SHAPES


def test_predicted_vertices_come_with_every_field_and_maps_without_depth_count_as_missing():
    model = build_model(tiny.D2A)
    weights = init_params(model, jax.random.key(0), zeros(1, 32))  # an example without depth makes both streams
    assert {"encoder", "depth_encoder", "depth_skip", "fusion", "head", "silhouette", "flow"} <= set(weights)
    predict = quick(lambda batch: model.apply(to_variables(weights), batch))
    batch = tiny.d2a_batch(0, size=2)
    batch = {name: batch[name] for name in ("image", "pseudo_depth", "has_pseudo_depth")}
    output = predict(batch)
    assert {name: getattr(output, name).shape for name in SHAPES} == SHAPES
    assert all(np.isfinite(getattr(output, name)).all() for name in SHAPES)
    assert (output.sigma > 0).all()
    # A map without any depth counts as missing, whatever the flag says.
    batch["pseudo_depth"] = np.zeros_like(batch["pseudo_depth"])
    empty = predict(batch | {"has_pseudo_depth": np.ones(2, np.float32)})
    np.testing.assert_array_equal(
        empty.vertices, predict(batch | {"has_pseudo_depth": np.zeros(2, np.float32)}).vertices
    )


def test_the_template_faces_the_camera_with_its_pelvis_at_the_origin():
    body = load_body_model()
    points = template_points(body, load_coarse_mesh(body))
    assert points.shape == (14 + 431, 3)
    assert points[13, 1] < -0.3  # the head is up: y down
    assert points[0, 1] > 0.3  # ankles
    assert points[5, 0] > points[0, 0]  # the body's left is on the image's right


def test_a_mask_of_another_size_and_shape_of_view_is_resized():
    """The person fills the upper half of what the encoder sees."""
    logits = jnp.full((1, 8, 6), -5.0).at[:, :4].set(5.0)
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[:, :50] = 1
    batch = {"mask": mask, "has_mask": np.ones(1, np.float32)}
    assert objective._silhouette_loss(logits, batch)[0] < 0.5  # the border is shared by two rows
    assert objective._silhouette_loss(-logits, batch)[0] > 3
    assert objective._silhouette_loss(logits, {})[0] == 0


def test_vertex_and_silhouette_losses_on_known_numbers():
    pred, target = np.zeros((2, 5, 3), np.float32), np.full((2, 5, 3), 0.1, np.float32)
    target[1] = np.nan
    np.testing.assert_allclose(losses.vertex_loss(pred, target, np.float32([1, 0])), [0.1, 0], atol=1e-7)
    gradient = jax.grad(lambda x: losses.vertex_loss(x, target, np.float32([1, 0])).sum())(pred)
    assert np.isfinite(gradient).all()
    even = losses.silhouette_loss(np.zeros((1, 2, 2)), np.float32([[[1, 0], [1, 0]]]), np.ones(1))
    np.testing.assert_allclose(even, np.log(2) + 1 - (2 * 1 + 1) / (2 + 2 + 1), rtol=1e-6)


def test_losses_that_the_model_cannot_have_are_named():
    with pytest.raises(ValueError, match=r"model\.uncertainty"):
        objective.check_losses(LossConfig(rle=1.0), build_model(tiny.MODEL))
    with pytest.raises(ValueError, match=r"silhouette decoder"):
        objective.check_losses(LossConfig(silhouette=1.0), build_model(tiny.MODEL))


def test_likelihood_weighs_less_at_first():
    config = LossConfig(rle=2.0, rle_early=0.1, rle_early_steps=10)
    at = [float(objective.loss_weights(config, ("rle", "vertices"), jnp.int32(step))["rle"]) for step in (9, 10)]
    np.testing.assert_allclose(at, [0.2, 2.0])


def test_the_mesh_starts_as_a_smooth_body_near_the_template():
    body = load_body_model()
    template = template_points(body, load_coarse_mesh(body))
    module = VertexHead(D2AConfig(dim=16, head_dim=96, head_depth=0), template)
    (points, scale, camera), _ = quick(module.init_with_output)(jax.random.key(0), maps(0, (2, 12, 32)))
    offset = np.asarray(points - template)[:, 14:]
    apart = np.linalg.norm(template[14:, None] - template[None, 14:], axis=-1) + 9 * np.eye(431)
    beside = np.linalg.norm(offset - offset[:, apart.argmin(1)], axis=-1)
    assert np.linalg.norm(offset, axis=-1).mean() < 0.06
    assert beside.mean() < 0.35 * np.linalg.norm(offset, axis=-1).mean()
    assert (np.abs(scale - 0.1) < 0.02).all()
    np.testing.assert_allclose(camera, [[0.9, 0, 0]] * 2, atol=0.1)


def test_streams_that_see_different_parts_are_refused():
    other = dataclasses.replace(tiny.D2A.d2a.depth_encoder, image_size=(32, 24))
    with pytest.raises(ValueError, match=r"depth_encoder\.image_size is \(32, 24\)"):
        build_model(dataclasses.replace(tiny.D2A, d2a=dataclasses.replace(tiny.D2A.d2a, depth_encoder=other)))
