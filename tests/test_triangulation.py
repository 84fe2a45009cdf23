"""Calibrated cameras of several views, and points that are triangulated from them."""

import numpy as np
import pytest
from ring import HEIGHT, WIDTH, cameras, person, see

from hmr_jax.geometry.attitudes import refine_attitudes, turned
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.distortion import Lens
from hmr_jax.geometry.triangulation import linear, triangulate


def test_rays_of_a_projected_point_lead_to_it():
    points = person()[0]
    for camera in cameras():
        at = camera.to_camera(points)
        rays, inside = camera.rays(camera.project(points))
        assert inside.all()
        np.testing.assert_allclose(rays, at[:, :2] / at[:, 2:], atol=1e-12)


def test_a_video_of_another_size_shows_the_image_fitted_and_centred():
    camera = cameras()[0]
    half = camera.shown_at(WIDTH // 2, HEIGHT // 2 + 10)  # half the size, five black rows above and below
    points = person()[0]
    expected = (camera.project(points) + 0.5) / 2 - 0.5 + [0, 5]
    np.testing.assert_allclose(half.project(points), expected, atol=1e-9)


# ---- triangulation


def far_off(found, world) -> np.ndarray:
    return np.linalg.norm(found.world - world, axis=-1)


def mixed(count: int) -> list[Camera]:
    """Cameras of which one is a fisheye and one a pinhole."""
    lenses = [Lens(np.array([0.05, -0.02, 0.01, 0.0]), True), None]
    made = cameras(count)
    return [
        Camera(c.name, c.intrinsics, lenses[i] if i < 2 else c.lens, c.rotation, c.translation, c.image_size)
        for i, c in enumerate(made)
    ]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_exact_points_are_found_exactly(count):
    world = person(20)  # (F, J, 3): any axes
    by = mixed(count)
    pixels = np.stack([camera.project(world) for camera in by])
    found = triangulate(by, pixels)
    assert found.world.shape == world.shape
    assert found.used.all()
    assert found.found.all()
    np.testing.assert_allclose(found.world, world, atol=1e-6)
    assert found.error.max() < 1e-6


def test_noise_costs_no_more_than_it_must():
    """The root mean squared error is within 3 % of the Cramer-Rao bound, also where views differ in noise."""
    rng = np.random.default_rng(5)
    world = np.tile(person(20).reshape(-1, 3), (20, 1))
    noise = np.array([0.2, 0.4, 0.6, 0.4])
    pixels = see(world, cameras()) + rng.normal(0, 1, (4, len(world), 2)) * noise[:, None, None]
    weights = np.broadcast_to(noise[:, None] ** -2, pixels.shape[:2])
    found = triangulate(cameras(), pixels, weights)
    step, information = 1e-5, np.zeros((len(world), 3, 3))
    for camera, sigma in zip(cameras(), noise, strict=True):
        sides = [[camera.project(world + sign * by) for sign in (1, -1)] for by in step * np.eye(3)]
        slopes = np.stack([(plus - minus) / (2 * step) for plus, minus in sides], -1)  # (N, 2, 3)
        information += np.swapaxes(slopes, 1, 2) @ slopes / sigma**2
    bound = np.trace(np.linalg.inv(information), axis1=1, axis2=2).mean()
    assert 0.95 < np.sqrt((far_off(found, world) ** 2).mean() / bound) < 1.03
    equal = triangulate(cameras(), pixels)
    assert (far_off(equal, world) ** 2).mean() > 1.2 * (far_off(found, world) ** 2).mean()


def test_bad_views_are_left_out():
    rng = np.random.default_rng(0)
    world = person(20).reshape(-1, 3)
    pixels = see(world, cameras()) + rng.normal(0, 0.3, (4, len(world), 2))
    bad, rows = rng.integers(0, 4, len(world)), np.arange(len(world))
    pixels[bad, rows] += rng.choice([-40, 40], (len(world), 2))
    found = triangulate(cameras(), pixels)
    assert far_off(found, world).max() < 0.03  # a pixel is 13 mm
    assert not found.used[bad, rows].any()
    assert (found.used.sum(0) == 3).all()
    assert found.mean_error.max() < 1.5
    assert np.median(found.error[bad, rows]) > 40
    poses = np.stack([camera.pose for camera in cameras()])
    rays = np.stack([camera.rays(view)[0] for camera, view in zip(cameras(), pixels, strict=True)])
    plain = linear(poses, rays, np.ones(pixels.shape[:2]))
    assert np.median(np.linalg.norm(plain - world, axis=1)) > 0.05  # what the bad view does otherwise


def test_two_bad_views_of_six_are_left_out():
    rng = np.random.default_rng(1)
    world, by = person(20).reshape(-1, 3), cameras(6)
    pixels = see(world, by) + rng.normal(0, 0.3, (6, len(world), 2))
    bad = np.argsort(rng.random((6, len(world))), 0) < 2
    pixels[bad] += rng.choice([-50, 50], (int(bad.sum()), 2))
    found = triangulate(by, pixels)
    assert (found.used == ~bad).mean() > 0.995
    assert far_off(found, world).max() < 0.03


def test_missing_views_count_nothing_and_points_of_one_view_are_not_found():
    world = person(2).reshape(-1, 3)
    pixels, weights = see(world, cameras()), np.ones((4, len(world)))
    weights[:, 0] = [1, 0, 0, 0]
    weights[:, 1] = [1, 0, 0.3, 0]
    weights[:, 2] = 0
    pixels[weights == 0] = np.nan
    found = triangulate(cameras(), pixels, weights)
    assert found.found.tolist() == [False, True, False] + [True] * (len(world) - 3)
    assert (found.used == (weights > 0) & found.found).all()
    np.testing.assert_allclose(found.world[1:2], world[1:2], atol=1e-9)
    assert (found.world[[0, 2]] == 0).all()
    assert np.isinf(found.mean_error[[0, 2]]).all()
    assert found.mean_error[1] < 1e-9


def test_points_that_a_lens_shows_nowhere_are_no_view():
    strong = [
        Camera(c.name, c.intrinsics, Lens(np.array([-0.3, 0, 0, 0])), c.rotation, c.translation, c.image_size)
        for c in cameras()
    ]
    world = person(1).reshape(-1, 3)
    pixels = see(world, strong)
    pixels[1, 4] = [-400.0, 700.0]  # farther out than the lens shows anything
    found = triangulate(strong, pixels)
    assert not found.used[1, 4]
    assert found.used.sum() == found.used.size - 1
    np.testing.assert_allclose(found.world, world, atol=1e-6)


def test_points_without_a_distance_are_not_found():
    twins = [cameras()[0], cameras()[0]]  # at one place
    world = person(1).reshape(-1, 3)
    found = triangulate(twins, see(world, twins))
    assert not found.found.any()
    behind = triangulate(cameras()[:2], np.stack([np.full((3, 2), -1e4), np.full((3, 2), 1e4)]))
    assert np.isfinite(behind.world).all()


def test_no_points_are_no_error():
    found = triangulate(cameras(), np.zeros((4, 0, 12, 2)))
    assert found.world.shape == (0, 12, 3)


def test_what_does_not_fit_together_is_refused():
    pixels = see(person(1).reshape(-1, 3), cameras())
    with pytest.raises(ValueError, match="two cameras or more, not 1"):
        triangulate(cameras()[:1], pixels[:1])
    with pytest.raises(ValueError, match=r"3 cameras with pixels \(4, 12, 2\)"):
        triangulate(cameras()[:3], pixels)
    with pytest.raises(ValueError, match="not negative"):
        triangulate(cameras(), pixels, np.full((4, 12), -1.0))


def test_attitudes_of_a_wrong_calibration_are_found():
    rng = np.random.default_rng(2)
    world = rng.uniform([-0.6, -0.6, -1], [0.6, 0.6, 1], (120, 3))
    pixels = see(world, cameras()) + rng.normal(0, 0.3, (4, 120, 2))
    wrong = [turned(camera, np.radians(rng.uniform(-1, 1, 3))) for camera in cameras()]
    weights = np.ones(pixels.shape[:2])
    found, degrees = refine_attitudes(wrong, pixels, weights)
    before, after = (triangulate(made, pixels, weights) for made in (wrong, found))
    assert np.median(after.mean_error) < 0.5 < 0.3 * np.median(before.mean_error)
    # Turning all cameras alike nearly moves all points alike, so what must come back is their shape.
    shapes = [np.linalg.norm(points - points.mean(0), axis=1) for points in (before.world, after.world, world)]
    assert np.abs(shapes[1] - shapes[2]).mean() < 0.5 * np.abs(shapes[0] - shapes[2]).mean()
    for camera, truth in zip(found, cameras(), strict=True):
        position = -camera.rotation.T @ camera.translation
        np.testing.assert_allclose(position, -truth.rotation.T @ truth.translation, atol=1e-9)
    assert 0.2 < degrees.mean() < 1.8
    with pytest.raises(ValueError, match="three cameras or more"):
        refine_attitudes(wrong[:2], pixels[:2], np.ones((2, 120)))
