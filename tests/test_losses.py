"""Losses equal HMR2.0's and treat missing labels as missing."""

import jax.numpy as jnp
import numpy as np

from hmr_jax import losses


def test_losses_equal_reference_sums_over_the_batch(reference):
    case = reference("losses")
    np.testing.assert_allclose(
        losses.keypoint_2d_loss(case["pred_keypoints_2d"], case["keypoints_2d"]).sum(), case["loss_2d"], rtol=2e-6
    )
    np.testing.assert_allclose(
        losses.keypoint_3d_loss(case["pred_keypoints_3d"], case["keypoints_3d"]).sum(), case["loss_3d"], rtol=2e-6
    )
    np.testing.assert_allclose(
        losses.parameter_loss(case["pred_param"], case["param"], case["has_param"]).sum(), case["loss_param"], rtol=2e-6
    )


def test_unlabelled_samples_and_keypoints_cost_nothing(reference):
    case = reference("losses")
    assert losses.parameter_loss(case["pred_param"], case["param"], np.zeros(3)).sum() == 0
    target = case["keypoints_2d"].copy()
    target[..., 2] = 0
    target[..., :2] = 1e6
    assert losses.keypoint_2d_loss(case["pred_keypoints_2d"], target).sum() == 0


def test_heatmap_loss_is_least_at_the_target_and_its_peak_reads_back():
    keypoints = np.random.default_rng(0).uniform(-0.3, 0.3, (4, 44, 2)).astype(np.float32)
    labelled = np.concatenate([keypoints, np.ones((4, 44, 1), np.float32)], -1)
    height, width = 32, 24
    y, x = np.mgrid[:height, :width]
    points = keypoints * height + np.array([(width - 1) / 2, (height - 1) / 2])
    squared = (x[..., None] - points[:, None, None, :, 0]) ** 2 + (y[..., None] - points[:, None, None, :, 1]) ** 2
    logits = jnp.float32(-squared / (2 * 1.5**2))
    np.testing.assert_allclose(losses.heatmap_points(logits), keypoints, atol=0.5 / height)
    right = losses.heatmap_loss(logits, labelled)
    wrong = losses.heatmap_loss(jnp.roll(logits, 2, 1), labelled)
    assert (right + 0.5 < wrong).all()


def test_heatmap_loss_leaves_out_points_outside_the_map():
    target = np.zeros((1, 44, 3), np.float32)
    target[..., 0], target[..., 2] = 0.45, 1  # inside the square crop, right of the encoder's columns
    assert losses.heatmap_loss(jnp.zeros((1, 32, 24, 44)), target)[0] == 0


def test_depth_loss_is_the_mean_distance_on_the_person():
    parts = np.zeros((1, 4, 4), np.uint8)
    parts[0, 1, 1:3] = 5
    pred = np.full((1, 4, 4), 9.0, np.float32)
    pred[0, 1, 1:3] = [0.2, 0.4]
    np.testing.assert_allclose(losses.depth_loss(pred, np.zeros_like(pred), parts, np.ones(1)), [0.3], rtol=1e-6)
    assert losses.depth_loss(pred, np.zeros_like(pred), parts, np.zeros(1))[0] == 0
