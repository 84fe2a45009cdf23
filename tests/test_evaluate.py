"""Evaluation counts each sample once and knows the answers it must give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from hmr_jax.batch import Prediction, check, zeros
from hmr_jax.body import joint_set_matrix, load_body_model, skin
from hmr_jax.body.joints import EVALUATION_14_OF_44, KEYPOINTS_44_FLIP, SMPL_24_FLIP
from hmr_jax.evaluation.flip import average_mirrored, mirror_batch, mirror_partners
from hmr_jax.evaluation.loop import evaluate, mean_body_errors
from hmr_jax.evaluation.scores import predict_with
from hmr_jax.evaluation.tables import text_table
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models import build_model
from hmr_jax.protocols import get_protocol, load_bodies


@pytest.fixture(scope="module")
def model_and_params():
    model = build_model(tiny.MODEL)
    return model, jax.jit(model.init)(jax.random.key(0), zeros(1, 32))["params"]


def test_every_valid_sample_counts_once_and_padding_not_at_all(model_and_params, every_device):
    def batches():
        for step in range(3):
            batch = tiny.batch(step)
            if step == 2:
                batch["valid"][5:] = 0
                batch["keypoints_3d"][5:] = np.nan
            yield batch

    result = evaluate(*model_and_params, batches(), baseline=True)
    assert result.count == 21
    np.testing.assert_array_equal(result.per_sample["index"], np.arange(21))
    assert result.metrics["mpjpe"] == pytest.approx(result.per_sample["mpjpe"].mean(), rel=1e-5)
    assert len(result.per_joint) == 14
    assert "mean body" in text_table(result)


def test_a_label_that_is_not_finite_is_an_error_that_names_the_sample(model_and_params):
    batch = tiny.batch(0)
    batch["keypoints_3d"][3, :, 0] = np.nan
    with pytest.raises(ValueError, match=r"not finite for samples \['3'\].*labels are damaged"):
        evaluate(*model_and_params, iter([batch]))


def test_a_prediction_that_is_not_finite_counts_as_a_failure_and_is_named(model_and_params):
    model, params = model_and_params
    broken = jax.tree.map(lambda x: np.full_like(x, np.nan), params)
    result = evaluate(model, broken, iter([tiny.batch(0)]))
    assert result.failures == tuple(map(str, range(8)))
    truth = tiny.batch(0)["keypoints_3d"][..., :3]
    at_root = np.linalg.norm(truth[:, EVALUATION_14_OF_44] - truth[:, 39:40], axis=-1).mean() * 1000
    assert result.metrics["mpjpe"] == pytest.approx(at_root, rel=1e-5)
    assert "8 predictions are missing or not finite (0, 1, 2, 3, 4, ...)" in text_table(result)


def test_a_sample_that_comes_twice_is_an_error(model_and_params):
    with pytest.raises(ValueError, match="8 samples came more than once"):
        evaluate(*model_and_params, iter([tiny.batch(0), tiny.batch(0)]))
    with pytest.raises(ValueError, match="came more than once, by their key: same"):
        evaluate(*model_and_params, iter([tiny.batch(0)]), keys=lambda numbers: ["same"] * len(numbers))


def test_a_mean_body_and_a_flip_test_are_what_they_say(model_and_params):
    """A network that sees nothing answers mirrored crops alike, so its flip test is the mean of it and its mirror."""
    model, params = model_and_params
    predict = predict_with(model, flip_test=True)
    batch = tiny.batch(0) | {"image": np.zeros((8, 32, 32, 3), np.uint8)}
    both = jax.jit(predict)(params, batch)
    one = jax.jit(predict_with(model))(params, batch)
    mirrored = jax.jit(predict)(params, mirror_batch(batch))
    np.testing.assert_allclose(both.vertices, mirrored.vertices, atol=1e-5)
    swapped = both.body_pose[:, SMPL_24_FLIP[1:] - 1] * np.float32([-1, 1, 1])[:, None] * np.float32([-1, 1, 1])
    np.testing.assert_allclose(swapped, both.body_pose, atol=1e-5)  # the mean is symmetric
    assert np.abs(both.body_pose - one.body_pose).max() > 1e-4
    assert np.abs(np.asarray(both.betas) - one.betas).max() < 1e-5


def test_a_flip_test_without_parameters_averages_the_meshes(model_and_params):
    """What a perfect network would say of the mirrored crop, mirrored back, is what it says of the crop itself."""
    body = load_body_model()
    rng = np.random.default_rng(0)
    keypoints, vertices = label(rng.normal(0, 0.3, (1, 24, 3)).astype(np.float32), np.zeros((1, 10), np.float32))
    joints = rng.normal(0, 0.3, (1, 24, 3)).astype(np.float32)
    mirror = np.float32([-1, 1, 1])
    one = Prediction(
        None, None, None, jnp.float32([[0.9, 0.1, 0.2]]), joints, keypoints, keypoints[..., :2], vertices,
        sigma=np.abs(keypoints[..., 0]),
    )  # fmt: skip
    two = Prediction(
        None, None, None, jnp.float32([[0.9, -0.1, 0.2]]), joints[:, SMPL_24_FLIP] * mirror,
        keypoints[:, KEYPOINTS_44_FLIP] * mirror, keypoints[:, KEYPOINTS_44_FLIP, :2] * mirror[:2],
        vertices[:, mirror_partners(body)] * mirror, sigma=np.abs(keypoints[:, KEYPOINTS_44_FLIP, 0]),
    )  # fmt: skip
    mean = average_mirrored(body, one, two, 5000.0)
    for name in ("camera", "vertices", "joints", "keypoints_3d", "keypoints_2d", "sigma"):
        np.testing.assert_allclose(getattr(mean, name), getattr(one, name), atol=1e-6, err_msg=name)
    crooked = dataclasses.replace(body, topology="other", v_template=body.v_template * np.float32([1, 1, 1]) ** 2)
    crooked.v_template[:100, 0] += np.float32(0.05)
    with pytest.raises(ValueError, match="not symmetric enough"):
        mirror_partners(crooked)
    straight = dataclasses.replace(body, topology="other")
    np.testing.assert_array_equal(mirror_partners(straight), mirror_partners(body))


def test_nothing_to_evaluate_is_an_error(model_and_params):
    with pytest.raises(ValueError, match="no sample"):
        evaluate(*model_and_params, iter([]))


def label(pose, betas):
    """Keypoints and vertices of the built-in body."""
    body = load_body_model()
    matrix, ids = joint_set_matrix(body, "keypoints_44")
    output = skin(body, betas, axis_angle_to_matrix(pose))
    return np.einsum(
        "kn,bnc->bkc", matrix, np.concatenate([output.joints, output.vertices[:, ids]], 1)
    ), output.vertices


def test_the_mean_body_of_equal_samples_has_no_error(model_and_params):
    pose = np.tile(np.random.default_rng(1).normal(0, 0.4, (1, 24, 3)), (5, 1, 1)).astype(np.float32)
    betas = np.ones((5, 10), np.float32)
    keypoints, _ = label(pose, betas)
    keypoints = np.concatenate([keypoints, np.ones((5, 44, 1))], -1).astype(np.float32)
    protocol = get_protocol("synthetic")
    bodies = load_bodies(protocol, load_body_model())
    errors = mean_body_errors(protocol, bodies, {"pose": pose, "betas": betas, "keypoints_3d": keypoints})
    assert set(errors) == set(protocol.metrics)
    assert max(errors.values()) < 0.01


def test_the_batch_contract_names_what_is_wrong():
    batch = tiny.batch(0)
    check(batch)
    with pytest.raises(ValueError, match="has no 'betas'"):
        check({name: value for name, value in batch.items() if name != "betas"})
    with pytest.raises(ValueError, match=r"'pose' of the batch is float64\(8, 24, 3\); expected float32"):
        check(batch | {"pose": batch["pose"].astype(np.float64)})
    with pytest.raises(ValueError, match="'vertices', which is not part of the contract"):
        check(batch | {"vertices": batch["pose"]})


def test_crops_of_another_size_than_the_encoders_are_refused(model_and_params):
    model, params = model_and_params
    with pytest.raises(ValueError, match=r"data\.crop_size"):
        model.apply({"params": params}, zeros(1, 48))
