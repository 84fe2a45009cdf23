"""The z-buffer and the shading."""

import numpy as np
import pytest
import trimesh

from hmr_jax.rendering import barycentric, interpolate, project_points, rasterize, render, vertex_normals
from hmr_jax.rendering import shading as shading_module

INTRINSICS = np.array([[90.0, 0, 40], [0, 90.0, 32], [0, 0, 1]])
HEIGHT, WIDTH = 64, 80


def crossed_spheres() -> tuple[np.ndarray, np.ndarray]:
    """Two interpenetrating balls, a large triangle behind them, and one that leaves the image."""
    ball = trimesh.creation.icosphere(3, 0.5)
    near, far = ball.vertices + np.array([0.0, 0.1, 2.5]), ball.vertices + np.array([0.5, 0.0, 2.8])
    walls = np.array([[-5, 4, 6.0], [5, 4, 6.0], [0, -5, 4.0], [-1, -3, 3.0], [-0.2, -0.2, 2.9], [-0.3, -3, 3.0]])
    faces = [ball.faces, ball.faces + len(near), np.array([[0, 2, 1], [3, 5, 4]])[:, ::-1] + 2 * len(near)]
    return np.concatenate([near, far, walls]).astype(np.float32), np.concatenate(faces).astype(np.int32)


@pytest.fixture(scope="module")
def scene():
    vertices, faces = crossed_spheres()
    points = project_points(vertices, INTRINSICS)
    return vertices, faces, points, rasterize(points, faces, HEIGHT, WIDTH, "numba")


def test_numba_and_jax_see_the_same(scene):
    _, faces, points, raster = scene
    other = rasterize(points, faces, HEIGHT, WIDTH, "jax")
    assert (raster.face_index == other.face_index).mean() > 0.999  # rounding may decide differently on an edge
    assert len(np.unique(raster.face_index)) > 300
    np.testing.assert_allclose(raster.inverse_depth, other.inverse_depth, rtol=1e-5)


def test_a_pixel_belongs_to_the_triangle_that_covers_its_centre():
    points = np.array([[1.4, 1.4, 2.0], [1.4, 4.55, 2.0], [4.55, 1.4, 2.0]], np.float32)  # counter-clockwise, y down
    raster = rasterize(points, np.array([[0, 1, 2]]), 6, 6)
    expected = np.zeros((6, 6), bool)
    expected[1, 1:4] = expected[2, 1:3] = expected[3, 1] = True
    np.testing.assert_array_equal(raster.face_index == 0, expected)
    np.testing.assert_array_equal(raster.inverse_depth, np.where(expected, 0.5, 0))


@pytest.mark.parametrize("backend", ["numba", "jax"])
def test_back_faces_and_faces_behind_the_camera_are_not_drawn(backend):
    points = np.array([[0, 0, 1], [0, 9, 1], [9, 0, 1], [9, 0, -1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3]])
    assert (rasterize(points, faces, 8, 8, backend).face_index == -1).all()


def test_interpolated_positions_project_back_to_their_pixel(scene):
    vertices, faces, points, raster = scene
    weights = barycentric(points, faces, raster)
    seen = raster.face_index >= 0
    position = interpolate(vertices, faces, raster, weights)[seen]
    row, column = np.nonzero(seen)
    np.testing.assert_allclose(
        project_points(position, INTRINSICS)[:, :2], np.stack([column, row], -1) + 0.5, atol=2e-3
    )
    np.testing.assert_allclose(position[:, 2], 1 / raster.inverse_depth[seen], rtol=1e-4)
    np.testing.assert_allclose(weights[seen].sum(1), 1, atol=1e-6)


def test_normals_of_a_ball_point_outwards():
    ball = trimesh.creation.icosphere(3, 0.5)
    normals = vertex_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    np.testing.assert_allclose(normals, ball.vertices / 0.5, atol=0.02)


def test_render_smooths_edges_and_repeats_itself(scene):
    vertices, faces, _, raster = scene
    image, alpha = render(vertices, faces, INTRINSICS, HEIGHT, WIDTH)
    again, _ = render(vertices, faces, INTRINSICS, HEIGHT, WIDTH)
    np.testing.assert_array_equal(image, again)
    assert set(np.unique(alpha)) == {0, 0.25, 0.5, 0.75, 1}
    assert np.mean((alpha > 0.5) == (raster.face_index >= 0)) > 0.97
    assert image[alpha == 0].max() == 0
    assert image[alpha == 1].mean() > 60


def test_shading_without_numba_is_the_same(scene, monkeypatch):
    vertices, faces, _, _ = scene
    colors = np.random.default_rng(0).random(vertices.shape)
    image, alpha = render(vertices, faces, INTRINSICS, HEIGHT, WIDTH, colors)
    monkeypatch.setattr(shading_module, "numba", None)
    other, other_alpha = render(vertices, faces, INTRINSICS, HEIGHT, WIDTH, colors)
    np.testing.assert_array_equal(alpha, other_alpha)
    assert np.abs(image.astype(int) - other).max() <= 1
