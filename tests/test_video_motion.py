"""Placing and posing bodies again."""

import numpy as np
import pytest

pytest.importorskip("av")

from hmr_jax.geometry import project
from hmr_jax.geometry.cameras import fit_translation
from hmr_jax.video.posing import mean_shape

FOCAL, CENTER = np.array([900.0, 950.0]), np.array([320.0, 240.0])


def made(frames: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (F, 44, 3), where they are (F, 3), and their pixels."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.4, (frames, 44, 3))
    where = rng.normal((0, 0, 5), 0.5, (frames, 3))
    return points, where, project(points, where, FOCAL, CENTER)


def test_bodies_are_placed_where_their_points_are_seen():
    points, where, pixels = made()
    weights = np.random.default_rng(1).uniform(0.1, 1, points.shape[:2])
    np.testing.assert_allclose(fit_translation(points, pixels, FOCAL, CENTER, weights), where, atol=1e-9)
    np.testing.assert_allclose(fit_translation(points, pixels, FOCAL, CENTER, weights, where[:, 2]), where, atol=1e-9)


def test_points_without_weight_do_not_count():
    points, where, pixels = made()
    weights = np.ones(points.shape[:2])
    weights[:, 3], pixels[:, 3] = 0, 1e4
    np.testing.assert_allclose(fit_translation(points, pixels, FOCAL, CENTER, weights), where, atol=1e-9)


def test_the_shape_is_the_weighted_mean():
    betas = np.stack([np.zeros(10), np.ones(10)])
    np.testing.assert_allclose(mean_shape(betas, np.array([1.0, 3.0])), 0.75)
