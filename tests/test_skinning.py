"""Skinning equals the reference and is consistent with itself."""

import numpy as np
import pytest

from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import skin
from hmr_jax.geometry import axis_angle_to_matrix


@pytest.fixture
def body_and_case(reference):
    case = reference("smpl_lbs")
    body = BodyModel(
        case["v_template"], case["shapedirs"], case["posedirs"], case["J_regressor"], case["weights"],
        tuple(case["parents"].tolist()), np.zeros((0, 3), np.int32), "smpl-431",
    )  # fmt: skip
    return body, case


def test_skinning_equals_reference(body_and_case):
    body, case = body_and_case
    output = skin(body, case["betas"], axis_angle_to_matrix(case["pose"].reshape(3, 24, 3)))
    np.testing.assert_allclose(output.vertices, case["vertices"], atol=1e-5)
    np.testing.assert_allclose(output.joints, case["joints"], atol=1e-5)


def test_translation_shifts_vertices_and_joints(body_and_case):
    body, case = body_and_case
    rotations = axis_angle_to_matrix(case["pose"].reshape(3, 24, 3))
    output = skin(body, case["betas"], rotations, case["transl"])
    np.testing.assert_allclose(output.vertices, case["vertices"] + case["transl"][:, None], atol=1e-5)
    np.testing.assert_allclose(output.joints, case["joints"] + case["transl"][:, None], atol=1e-5)


def test_a_subset_of_vertices_equals_those_of_the_whole(body_and_case):
    body, case = body_and_case
    ids = np.array([3, 77, 430])
    output = skin(body, case["betas"], axis_angle_to_matrix(case["pose"].reshape(3, 24, 3)), vertex_ids=ids)
    np.testing.assert_allclose(output.vertices, case["vertices"][:, ids], atol=1e-5)
    np.testing.assert_allclose(output.joints, case["joints"], atol=1e-5)


def test_wrong_shapes_are_refused_with_the_expected_ones(body_and_case):
    body, case = body_and_case
    with pytest.raises(ValueError, match=r"expected \(B, 10\) and \(B, 24, 3, 3\)"):
        skin(body, case["betas"], np.zeros((3, 23, 3, 3), np.float32))
