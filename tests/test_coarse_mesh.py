"""The coarse mesh stands for the full one, and a body is read off its vertices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.body import (
    CoarseMesh,
    coarse,
    joint_set_matrix,
    load_body_model,
    load_coarse_mesh,
    parameters_from_vertices,
    skin,
)
from hmr_jax.body.coarse import NUM_COARSE, NUM_MIDDLE, build_coarse_mesh, read_coarse_mesh, save_coarse_mesh
from hmr_jax.geometry import axis_angle_to_matrix

MAPS = ("middle_weights", "full_weights", "joint_weights")


@pytest.fixture(scope="module")
def posed():
    """Bodies that the maps were not fitted to: pose, betas, vertices, joints."""
    rng = np.random.default_rng(7)
    pose = rng.normal(0, 0.4, (4, 24, 3)).astype(np.float32)
    pose[:, 0] *= 3
    betas = rng.normal(0, 1, (4, 10)).astype(np.float32)
    rotations = axis_angle_to_matrix(jnp.asarray(pose))
    output = skin(load_body_model(), jnp.asarray(betas), rotations)
    return rotations, betas, np.asarray(output.vertices), np.asarray(output.joints)


@pytest.fixture(scope="module")
def mesh() -> CoarseMesh:
    return load_coarse_mesh(load_body_model())


def millimetres(a, b) -> np.ndarray:
    return 1000 * np.linalg.norm(np.asarray(a) - np.asarray(b), axis=-1)


def test_every_map_is_an_affine_combination(mesh):
    assert mesh.vertex_ids.shape == (NUM_MIDDLE,)
    assert len(set(mesh.vertex_ids.tolist())) == NUM_MIDDLE
    for name in MAPS:
        np.testing.assert_allclose(getattr(mesh, name).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(mesh.full_matrix().sum(1), 1, atol=1e-5)


def test_posed_bodies_are_restored_from_their_coarse_vertices(mesh, posed):
    _, _, vertices, joints = posed
    points = vertices[:, mesh.vertex_ids[:NUM_COARSE]]
    error = millimetres(mesh.full_matrix() @ points, vertices)
    assert error.mean() < 2.5
    assert np.percentile(error, 99) < 15
    assert error.max() < 50
    assert millimetres(mesh.joint_matrix() @ points, joints).mean() < 3
    matrix, ids = joint_set_matrix(load_body_model(), "keypoints_44")
    keypoints = np.einsum("kn,bnc->bkc", matrix, np.concatenate([joints, vertices[:, ids]], 1))
    found = mesh.joint_set_matrix(load_body_model(), "keypoints_44") @ points
    assert millimetres(found, keypoints).mean() < 2.5
    assert millimetres(found, keypoints)[:, 25:].mean() < 1.5  # the evaluation joints are among these


def test_noise_is_hardly_amplified(mesh):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (NUM_COARSE, 3)).astype(np.float32)
    assert (mesh.full_matrix() @ noise).std() < 1.1


def test_a_body_that_is_not_built_in_is_computed_once_and_kept(mesh, tmp_path, monkeypatch):
    """The same computation that made the shipped file, asked for under another topology."""
    monkeypatch.setenv("HMR_JAX_CACHE", str(tmp_path))
    body = dataclasses.replace(load_body_model(), topology="smpl")
    calls = []
    monkeypatch.setattr(coarse, "build_coarse_mesh", lambda model: calls.append(model) or mesh)
    first, second = load_coarse_mesh(body), load_coarse_mesh(body)
    assert len(calls) == 1
    assert len(list(tmp_path.glob("coarse_smpl_*.npz"))) == 1
    template = np.asarray(body.v_template)[mesh.vertex_ids[:NUM_COARSE]]
    assert millimetres(first.full_matrix() @ template, second.full_matrix() @ template).max() < 0.5
    assert millimetres(first.joint_matrix() @ template, second.joint_matrix() @ template).max() < 0.5
    moved = dataclasses.replace(body, v_template=np.asarray(body.v_template) * 1.01)
    load_coarse_mesh(moved)
    assert len(calls) == 2


def test_building_spreads_vertices_and_fits_weights(tmp_path, monkeypatch):
    """The whole computation at a size that takes a second."""
    monkeypatch.setattr(coarse, "NUM_COARSE", 120)
    monkeypatch.setattr(coarse, "NUM_MIDDLE", 300)
    monkeypatch.setattr(coarse, "_BODIES", 12)
    body = load_body_model()
    mesh = build_coarse_mesh(body)
    save_coarse_mesh(mesh, tmp_path / "mesh.npz")
    again = read_coarse_mesh(tmp_path / "mesh.npz")
    for made in (mesh, again):
        template = np.asarray(body.v_template)
        error = millimetres(made.full_matrix() @ template[made.vertex_ids[:120]], template)
        assert error.mean() < 6
        np.testing.assert_allclose(made.full_matrix().sum(1), 1, atol=1e-4)
    apart = np.linalg.norm(template[mesh.vertex_ids[:, None]] - template[mesh.vertex_ids[None]], axis=-1)
    assert np.sort(apart, 1)[:, 1].min() > 0.02  # no two of the 300 are neighbours


def test_a_mesh_that_is_too_small_is_refused():
    body = load_body_model()
    small = dataclasses.replace(body, v_template=np.asarray(body.v_template)[:100])
    with pytest.raises(ValueError, match="100 vertices cannot be coarsened"):
        load_coarse_mesh(small)


def test_pose_and_shape_are_read_off_vertices(mesh, posed):
    rotations, betas, vertices, _ = posed
    body = load_body_model()
    fit = jax.jit(lambda points: parameters_from_vertices(body, points, mesh.vertex_ids))
    shift = np.float32([0.3, -1.0, 4.0])
    found, shape = fit(vertices[:, mesh.vertex_ids] + shift)
    again = np.asarray(skin(body, shape, found).vertices)
    centred = again - again.mean(1, keepdims=True), vertices - vertices.mean(1, keepdims=True)
    assert millimetres(*centred).mean() < 4
    cosine = (np.trace(np.swapaxes(found, -1, -2) @ rotations, axis1=-2, axis2=-1) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 2
    assert np.abs(shape - betas).mean() < 0.5
