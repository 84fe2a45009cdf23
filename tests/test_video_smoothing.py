"""Smoothing: noise goes, peaks stay, nothing is delayed, and gaps are filled on the shortest way."""

import numpy as np
import pytest

from hmr_jax.video.smoothing import (
    conjugate,
    exp,
    fill,
    fill_rotations,
    half_width,
    log,
    multiply,
    smooth_rotations,
    smooth_values,
    trust,
)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between rotations (F, J, 4)."""
    return np.degrees(np.linalg.norm(log(multiply(conjugate(first), second)), axis=-1))


def swing(times: np.ndarray, hertz: float, degrees: float = 60) -> np.ndarray:
    """(F, 1, 4) an arm that swings."""
    angle = np.radians(degrees) * np.sin(2 * np.pi * hertz * times)
    return exp(angle[:, None, None] * np.array([0.6, 0.8, 0.0]))


@pytest.mark.parametrize("rate", [25, 60])
def test_noise_of_rotations_goes_and_the_peak_of_a_fast_swing_stays(rate):
    times = np.arange(0, 3, 1 / rate)
    rng = np.random.default_rng(0)
    true = swing(times, 1.5)
    noisy = multiply(true, exp(rng.normal(0, np.radians(4), (len(times), 1, 3))))
    noisy *= rng.choice([-1, 1], (len(times), 1, 1))  # both signs are the same rotation
    smooth = smooth_rotations(noisy, times, half_width(times))
    assert distance(smooth, true).mean() < 0.62 * distance(noisy, true).mean()
    assert np.degrees(np.linalg.norm(log(smooth), axis=-1)).max() > 0.93 * 60
    np.testing.assert_allclose(np.linalg.norm(smooth, axis=-1), 1)


def test_smoothing_delays_nothing():
    times = np.arange(0, 4, 1 / 30)
    smooth = smooth_values(np.sin(2 * np.pi * times)[:, None], times, 0.2)[:, 0]
    crossings = times[1:][(smooth[:-1] < 0) & (smooth[1:] >= 0)]
    np.testing.assert_allclose(crossings % 1, 0, atol=1.1 / 30)
    backwards = smooth_values(np.sin(2 * np.pi * times)[::-1, None], -times[::-1], 0.2)[::-1, 0]
    np.testing.assert_allclose(smooth, backwards, atol=1e-9)


def test_straight_and_constant_motion_is_left_as_it_is_at_irregular_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.08, 60))
    values = np.stack([np.full(60, 3.0), 2 - 5 * times], 1)
    np.testing.assert_allclose(smooth_values(values, times, 0.2), values, atol=1e-3)
    turning = exp(times[:, None, None] * np.array([0, 1.5, 0]))
    assert distance(smooth_rotations(turning, times, 0.2), turning).max() < 0.05


def test_one_wrong_frame_counts_little():
    times = np.arange(60) / 30
    true = swing(times, 0.5)
    wrong = true.copy()
    wrong[30] = multiply(true[30], exp(np.array([[0, 0, np.pi]])))
    assert distance(smooth_rotations(wrong, times, 0.2), true).max() < 8


def test_uncertain_frames_count_less():
    times = np.arange(40) / 30
    values = np.zeros((40, 1))
    values[20] = 1
    sigma = np.full((40, 1), 0.03)
    sigma[20] = 0.3
    weights = trust(sigma, np.ones(40, bool), 1)
    assert smooth_values(values, times, 0.2, weights)[20] < 0.3 * smooth_values(values, times, 0.2)[20]


def test_width_follows_the_frame_rate():
    assert half_width(np.arange(10) / 60) == pytest.approx(0.2)
    assert half_width(np.arange(10) / 5) == pytest.approx(0.7)
    assert half_width(np.zeros(1)) == pytest.approx(0.2)


def test_gaps_are_filled_at_constant_speed():
    times = np.arange(11) / 10
    true = exp(times[:, None, None] * np.array([2.0, 0, 0]))
    known = np.ones(11, bool)
    known[3:8] = False
    broken = np.where(known[:, None, None], true, np.array([1.0, 0, 0, 0]))
    assert distance(fill_rotations(broken, times, known), true).max() < 1e-6
    np.testing.assert_allclose(fill(np.where(known, times, 9.0)[:, None], times, known)[:, 0], times)


def test_values_beyond_the_known_ones_are_the_nearest():
    times = np.arange(5.0)
    known = np.array([False, True, True, True, False])
    assert fill(times[:, None] ** 2, times, known)[:, 0].tolist() == [1, 1, 4, 9, 9]
    turned = fill_rotations(exp(times[:, None, None] * np.ones(3) / 9), times, known)
    assert distance(turned[:1], turned[1:2]).max() < 1e-6


def test_one_frame_stays_as_it_is():
    assert smooth_values(np.ones((1, 2)), np.zeros(1), 0.2).tolist() == [[1, 1]]


def test_log_and_exp_are_inverse_also_near_zero_and_pi():
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(50, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    vectors = axes * np.concatenate([[0, 1e-12, 1e-6, np.pi - 1e-6], rng.uniform(0, np.pi, 46)])[:, None]
    np.testing.assert_allclose(log(exp(vectors)), vectors, atol=1e-9)
