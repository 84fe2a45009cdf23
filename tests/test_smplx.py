"""SMPL-X files are read safely and posed as an independent implementation does; other files are refused by name."""

import jax
import numpy as np
import pytest
from formats import smplx

from hmr_jax.body import load_body_model, skin
from hmr_jax.body.prepare import prepare
from hmr_jax.body.smplx import read_smplx, read_vertex_map, smplx_surface
from hmr_jax.geometry import axis_angle_to_matrix


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return smplx.write(tmp_path_factory.mktemp("smplx"))


def inputs(count=2):
    rng = np.random.default_rng(1)
    return rng.normal(0, 1, (count, 10)).astype(np.float32), rng.normal(0, 0.3, (count, 66))


def test_equals_an_independent_smplx(tmp_path):
    reference = pytest.importorskip("body_models.smplx.numpy")
    folder, _ = smplx.write(tmp_path, wide=True)
    model = read_smplx(folder / "SMPLX_NEUTRAL.npz")
    betas, body = inputs(1)
    rng = np.random.default_rng(2)
    hands, face, expression = rng.normal(0, 0.3, (1, 2, 45)), rng.normal(0, 0.1, (1, 9)), rng.normal(0, 1, (1, 10))
    pose = model.full_pose(body, hands, face, flat_hand_mean=False)
    ours = smplx_surface(model, betas, pose, np.ones((1, 3)), expression)
    other = reference.SMPLX(model_path=str(folder / "SMPLX_NEUTRAL.npz"), flat_hand_mean=False)
    given = {
        "shape": np.pad(betas, ((0, 0), (0, 290))), "expression": np.pad(expression, ((0, 0), (0, 90))),
        "body_pose": body[:, 3:].reshape(1, 21, 3), "hand_pose": hands.reshape(1, 30, 3),
        "head_pose": face.reshape(1, 3, 3), "pelvis_rotation": body[:, :3],
    }  # fmt: skip
    given = {name: value.astype(np.float32) for name, value in given.items()}
    theirs = np.asarray(other.forward_vertices(**given)) + 1
    np.testing.assert_allclose(ours.vertices, theirs, atol=1e-5)
    theirs = np.asarray(other.forward_skeleton(**given))[..., :3, 3] + 1
    np.testing.assert_allclose(ours.joints, theirs, atol=1e-5)


def test_hand_coefficients_are_of_the_first_components(files):
    model = read_smplx(files[0] / "SMPLX_NEUTRAL.npz")
    coefficients = np.random.default_rng(0).normal(0, 1, (2, 2, 12))
    pose = model.full_pose(np.zeros((2, 66)), coefficients, flat_hand_mean=False)
    left = coefficients[:, 0] @ model.hand_components[0, :12] + model.hand_mean[0]
    np.testing.assert_allclose(pose[:, 25:40].reshape(2, 45), left)
    assert not model.full_pose(np.zeros((2, 66)))[:, 22:].any()


def test_the_map_brings_the_surface_back_to_smpl(files):
    betas, body = inputs()
    model, matrix = read_smplx(files[0] / "SMPLX_NEUTRAL.npz"), read_vertex_map(files[1])
    surface = smplx_surface(model, betas, model.full_pose(body))
    pose = np.concatenate([body, np.zeros((2, 6))], 1).reshape(2, 24, 3).astype(np.float32)
    expected = jax.jit(skin)(load_body_model(), betas, axis_angle_to_matrix(pose)).vertices
    mapped = np.stack([matrix @ vertices for vertices in np.asarray(surface.vertices)])
    np.testing.assert_allclose(mapped, expected, atol=2e-6)


def test_a_prepared_map_is_the_same_map(files, tmp_path):
    prepare([files[1]], tmp_path)
    difference = read_vertex_map(tmp_path / "smplx2smpl.npz") - read_vertex_map(files[1])
    assert abs(difference).max() == 0


def test_other_files_are_refused(files, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_smplx(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="not a map from SMPL-X"):
        read_vertex_map(files[0] / "SMPLX_NEUTRAL.npz")
    with pytest.raises(ValueError, match="is smplx2smpl, not an SMPL-X model"):
        read_smplx(files[1])
    arrays, _ = smplx.model()
    np.savez(tmp_path / "cut.npz", **{key: array for key, array in arrays.items() if key != "hands_meanl"})
    with pytest.raises(ValueError, match="lacks hands_meanl"):
        read_smplx(tmp_path / "cut.npz")
    np.savez(tmp_path / "bad.npz", **(arrays | {"v_template": np.full_like(arrays["v_template"], np.nan)}))
    with pytest.raises(ValueError, match=r"v_template in .* not finite"):
        read_smplx(tmp_path / "bad.npz")
    model = read_smplx(files[0] / "SMPLX_NEUTRAL.npz")
    with pytest.raises(ValueError, match="16 betas"):
        smplx_surface(model, np.zeros((1, 16)), np.zeros((1, 55, 3)))
