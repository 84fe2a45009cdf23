"""Evaluation counts each sample once and knows the answers it must give."""

import jax
import numpy as np
import pytest
import tiny

from hmr_jax.batch import check, zeros
from hmr_jax.body import joint_set_matrix, load_body_model, skin
from hmr_jax.evaluate import evaluate, mean_body_errors, table
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models import build_model
from hmr_jax.steps import body_errors


@pytest.fixture(scope="module")
def model_and_params():
    model = build_model(tiny.MODEL)
    return model, jax.jit(model.init)(jax.random.key(0), zeros(1, 32))["params"]


def test_every_valid_sample_counts_once_and_padding_not_at_all(model_and_params):
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
    assert "mean body" in table(result)


def test_a_prediction_that_is_not_finite_is_an_error_that_names_the_sample(model_and_params):
    batch = tiny.batch(0)
    batch["keypoints_3d"][3, :, 0] = np.nan
    with pytest.raises(ValueError, match=r"not finite for samples \[3\]"):
        evaluate(*model_and_params, iter([batch]))


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


def test_truth_against_itself_is_zero_whatever_its_place():
    rng = np.random.default_rng(0)
    keypoints, vertices = label(rng.normal(0, 0.3, (2, 24, 3)).astype(np.float32), np.zeros((2, 10), np.float32))
    shift = np.float32([0.3, -0.2, 5.0])
    errors = body_errors(keypoints + shift, vertices + shift, keypoints, vertices, keypoints[:, 39])
    for name in ("mpjpe", "pa_mpjpe", "pve"):
        np.testing.assert_allclose(errors[name], 0, atol=5e-3)


def test_the_mean_body_of_equal_samples_has_no_error(model_and_params):
    pose = np.tile(np.random.default_rng(1).normal(0, 0.4, (1, 24, 3)), (5, 1, 1)).astype(np.float32)
    betas = np.ones((5, 10), np.float32)
    keypoints, _ = label(pose, betas)
    keypoints = np.concatenate([keypoints, np.ones((5, 44, 1))], -1).astype(np.float32)
    errors = mean_body_errors(model_and_params[0], {"pose": pose, "betas": betas, "keypoints_3d": keypoints})
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
