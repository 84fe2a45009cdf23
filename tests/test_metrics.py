"""Metrics equal the reference, mirrored and degenerate bodies included."""

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax import metrics
from hmr_jax.body.kinematics import world_rotations
from hmr_jax.geometry import axis_angle_to_matrix, similarity_align


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


def numpy_aligned(source, target):
    """Umeyama's alignment in float64, one sample at a time."""
    aligned = []
    for x, y in zip(np.float64(source), np.float64(target), strict=True):
        center = y.mean(0)
        x, y = x - x.mean(0), y - center
        u, s, vt = np.linalg.svd(x.T @ y)
        signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
        aligned.append((s * signs).sum() / (x**2).sum() * x @ (u * signs @ vt) + center)
    return np.array(aligned)


def hard_cases():
    """Bodies that are flat, thin, mirrored, tiny, huge, half a turn away, or nearly points on a line."""
    rng = np.random.default_rng(1)
    body = rng.normal(0, [0.2, 0.5, 0.1], (14, 3))
    half_turn = np.diag([-1.0, 1, -1])
    pairs = [
        (body, body), (body * [1, 1, 0], body), (body * [1, 1e-3, 1e-3], body), (-body, body),
        (1e-3 * body, body), (1e3 * body, body), (body @ half_turn, body), (body, body * [1, 1, 0]),
        (body * [1, 1, -1], body), (body * [0, 1, 0], body), (body + np.array([0, 0, 50]), body), (body, 0 * body),
    ]  # fmt: skip
    return tuple(np.array(side) for side in zip(*pairs, strict=True))


def test_alignment_is_as_good_as_a_singular_value_decomposition_in_hard_cases():
    source, target = hard_cases()
    expected = 1000 * np.linalg.norm(numpy_aligned(source, target) - target, axis=-1).mean(1)
    found = metrics.pa_mpjpe(source.astype(np.float32), target.astype(np.float32))
    # Where several rotations are equally good, only the sum of squares is determined; body 3, 8, 9 are such.
    np.testing.assert_allclose(np.delete(found, 9), np.delete(expected, 9), rtol=2e-5, atol=5e-3)
    squares = ((np.asarray(similarity_align(*map(np.float32, (source, target)))) - target) ** 2).sum((1, 2))
    best = ((numpy_aligned(source, target) - target) ** 2).sum((1, 2))
    np.testing.assert_allclose(squares, best, rtol=1e-4, atol=1e-9)


def test_float32_agrees_with_float64(reference):
    case = reference("metrics")
    source, target = hard_cases()
    with jax.enable_x64(True):
        exact = metrics.pa_mpjpe(np.float64(case["pred"]), np.float64(case["target"]))
        hard = metrics.pa_mpjpe(source, target)
        assert exact.dtype == np.float64
    np.testing.assert_allclose(metrics.pa_mpjpe(case["pred"], case["target"]), exact, rtol=1e-5, atol=1e-3)
    expected = 1000 * np.linalg.norm(numpy_aligned(source, target) - target, axis=-1).mean(1)
    np.testing.assert_allclose(np.delete(hard, 9), np.delete(expected, 9), rtol=1e-9, atol=1e-7)


def test_depth_errors_are_along_the_camera_axis_only():
    target = np.random.default_rng(0).standard_normal((2, 14, 3)).astype(np.float32)
    np.testing.assert_allclose(metrics.depth_error(target + np.float32([0.5, -0.1, 0.02]), target), 20, rtol=1e-4)
    np.testing.assert_allclose(metrics.pa_depth_error(3 * target + 1, target), 0, atol=2e-3)


def test_pck_and_auc_count_points_below_thresholds():
    errors = np.float32([[0, 49, 50, 51], [np.nan, 500, np.inf, 0]])
    np.testing.assert_allclose(metrics.pck(errors, 50), [75, 25])
    thresholds = np.linspace(0, 100, 5)  # 0, 25, 50, 75, 100
    np.testing.assert_allclose(metrics.auc(errors, thresholds), [100 * (5 + 3 + 3 + 2) / 20, 100 * 5 / 20], rtol=1e-6)
    np.testing.assert_allclose(metrics.auc(errors[:1], thresholds, np.float32([[1, 0, 0, 1]])), 70, rtol=1e-6)


def test_angles_are_exact_from_tiny_to_half_a_turn():
    for degrees in (0.0, 1e-3, 1.0, 90.0, 179.99, 180.0):
        turn = axis_angle_to_matrix(np.float32([0, 0, np.deg2rad(degrees)]))
        np.testing.assert_allclose(
            metrics.geodesic_angle(turn, jnp.eye(3)), degrees, atol=2e-3 if degrees > 1 else 2e-5
        )
    parents = (-1, 0, 1)
    chain = jnp.stack([axis_angle_to_matrix(np.float32([0, 0, 0.3]))] * 3)[None]
    turned = world_rotations(parents, chain)[0, 2]
    np.testing.assert_allclose(turned, axis_angle_to_matrix(np.float32([0, 0, 0.9])), atol=1e-6)


def test_acceleration_error_of_known_motions():
    frames = np.arange(6, dtype=np.float32)
    path = np.stack([frames**2, frames, 0 * frames], -1)[:, None] * np.float32(0.001)  # 2 mm per frame squared
    error, counts = metrics.acceleration_error(path, np.zeros_like(path))
    np.testing.assert_allclose(error, 2, rtol=1e-3)
    assert counts.all()
    error, counts = metrics.acceleration_error(path, path + np.float32(0.5), jnp.array([0, 1, 2, 7, 8, 9]), 30)
    np.testing.assert_allclose(error, 0, atol=1e-3 * 900)
    assert counts.tolist() == [True, False, False, True]
