"""Metrics equal the reference, mirrored and degenerate bodies included."""

import numpy as np

from hmr_jax import metrics


def test_metrics_equal_reference(reference):
    case = reference("metrics")
    np.testing.assert_allclose(metrics.mpjpe(case["pred"], case["target"]), case["mpjpe_mm"], rtol=2e-5)
    np.testing.assert_allclose(
        metrics.pa_mpjpe(case["pred"], case["target"]), case["pa_mpjpe_mm"], rtol=2e-5, atol=2e-3
    )


def test_error_of_a_known_shift_is_its_length():
    target = np.random.default_rng(0).standard_normal((3, 10, 3)).astype(np.float32)
    shifted = target + np.float32([0.003, 0.0, 0.004])
    np.testing.assert_allclose(metrics.mpjpe(shifted, target), 5.0, rtol=1e-4)
    np.testing.assert_allclose(metrics.pve(shifted, target), 5.0, rtol=1e-4)
    np.testing.assert_allclose(metrics.pa_mpjpe(2 * shifted, target), 0.0, atol=2e-3)
    root = metrics.root_align
    np.testing.assert_allclose(metrics.mpjpe(root(shifted, shifted[:, 0]), root(target, target[:, 0])), 0.0, atol=1e-3)
