"""Geometry equals the reference cases and has the right gradients at the awkward places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hmr_jax import geometry


def test_rotation_6d_equals_reference(reference):
    case = reference("geometry")
    np.testing.assert_allclose(geometry.rotation_6d_to_matrix(case["rot6d"]), case["rot6d_matrix"], atol=2e-5)


def test_rotation_6d_round_trips_every_rotation(reference):
    matrices = reference("geometry")["rot6d_matrix"]
    np.testing.assert_allclose(
        geometry.rotation_6d_to_matrix(geometry.matrix_to_rotation_6d(matrices)), matrices, atol=2e-6
    )


def test_axis_angle_equals_reference(reference):
    case = reference("geometry")
    np.testing.assert_allclose(geometry.axis_angle_to_matrix(case["axis_angle"]), case["axis_angle_matrix"], atol=2e-5)


def test_matrix_to_axis_angle_inverts_also_near_zero_and_pi():
    axis = np.random.default_rng(0).standard_normal((200, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.concatenate([np.linspace(0, np.pi, 190), np.pi - 10.0 ** -np.arange(1, 6), 10.0 ** -np.arange(1, 6)])
    matrix = jax.jit(geometry.axis_angle_to_matrix)(jnp.float32(axis * angle[:, None]))
    again = jax.jit(lambda m: geometry.axis_angle_to_matrix(geometry.matrix_to_axis_angle(m)))(matrix)
    np.testing.assert_allclose(again, matrix, atol=3e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1.0, np.pi - 1e-3, np.pi])
def test_axis_angle_gradient_equals_finite_differences(angle):
    axis = np.array([[0.6, -0.64, 0.48]])
    with jax.enable_x64(True):
        check_grads(jax.jit(geometry.axis_angle_to_matrix), (jnp.float64(axis * angle),), order=1, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1.0, np.pi - 1e-3, np.pi])
def test_matrix_to_axis_angle_gradient_is_finite_and_right(angle):
    axis = np.array([[0.6, -0.64, 0.48]])
    with jax.enable_x64(True):
        # Rotations next to the given one: the tangent space is where the function is defined.
        def near(tangent):
            base = geometry.axis_angle_to_matrix(jnp.float64(axis * angle))
            return geometry.axis_angle_to_matrix(tangent) @ base

        jacobian = jax.jacfwd(lambda t: geometry.axis_angle_to_matrix(geometry.matrix_to_axis_angle(near(t))))
        expected = jax.jacfwd(near)
        tangent = jnp.zeros((1, 3))
        np.testing.assert_allclose(jax.jit(jacobian)(tangent), jax.jit(expected)(tangent), atol=1e-4)


def test_projection_equals_reference(reference):
    case = reference("geometry")
    projected = geometry.project(case["points"], case["translation"], case["focal"])
    np.testing.assert_allclose(projected, case["projected"], rtol=2e-5)


def test_full_image_translation_projects_onto_the_crop_projection():
    """A point seen through the crop's camera and through the image's camera falls on the same pixel."""
    camera, center, size = np.float32([[0.9, 0.05, -0.1]]), np.float32([[420.0, 260.0]]), np.float32([300.0])
    principal, focal = np.float32([[320.0, 240.0]]), np.float32([5000.0 / 256 * 300])
    point = np.zeros((1, 1, 3), np.float32)
    crop = geometry.project(point, geometry.crop_translation(camera, 5000.0), np.full((1, 2), 5000.0 / 256, np.float32))
    translation = geometry.full_image_translation(camera, center, size, principal, focal)
    image = geometry.project(point, translation, np.repeat(focal[:, None], 2, 1), principal)
    np.testing.assert_allclose(image[:, 0], center + crop[:, 0] * size[:, None], atol=1e-2)


def test_similarity_alignment_equals_reference(reference):
    case = reference("metrics")
    aligned = geometry.similarity_align(case["pred"], case["target"])
    np.testing.assert_allclose(aligned, case["aligned"], atol=2e-5 * np.abs(case["aligned"]).max())
