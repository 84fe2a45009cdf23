"""Bodies are found again from where their skin or joints are.

Most tests take the default batch, of which the builders of SMPL-X labels need the compiled program, too.
"""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmr_jax.body import load_body_model, skin
from hmr_jax.body.fitting import fit_body


@pytest.fixture(scope="module")
def bodies():
    """Four people of wild poses, uncommon shapes and any orientation, and the place of their skin and joints."""
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 0.5, (4, 24, 3))
    pose[:, 0] = Rotation.random(4, rng=rng).as_rotvec()
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(4, 24, 3, 3).astype(np.float32)
    betas = rng.normal(0, 1.5, (4, 10)).astype(np.float32)
    translation = rng.normal(0, 2, (4, 3)).astype(np.float32)
    out = jax.jit(skin)(load_body_model(), betas, rotations, translation)
    return betas, rotations, translation, np.asarray(out.vertices), np.asarray(out.joints)


def placed(fit) -> np.ndarray:
    return np.asarray(jax.jit(skin)(load_body_model(), fit.betas, fit.rotations, fit.translation).vertices)


def degrees(first, second) -> np.ndarray:
    relative = np.swapaxes(first, -1, -2) @ second
    return np.degrees(Rotation.from_matrix(relative.reshape(-1, 3, 3)).magnitude())


def test_exact_skin_gives_the_parameters_back(bodies):
    betas, rotations, translation, vertices, _ = bodies
    fit = fit_body(load_body_model(), vertices)
    np.testing.assert_allclose(fit.betas, betas, atol=2e-3)
    np.testing.assert_allclose(fit.translation, translation, atol=1e-4)
    assert degrees(fit.rotations, rotations).max() < 0.05
    assert fit.mean_error.max() < 0.01  # mm
    errors = 1000 * np.linalg.norm(placed(fit) - vertices, axis=-1)
    np.testing.assert_allclose([fit.mean_error, fit.max_error], [errors.mean(1), errors.max(1)], atol=1e-3)


def test_noise_is_averaged_out(bodies):
    *_, vertices, _ = bodies
    noisy = vertices + np.random.default_rng(0).normal(0, 0.005, vertices.shape)
    fit = fit_body(load_body_model(), noisy)
    assert np.linalg.norm(placed(fit) - vertices, axis=-1).mean() < 0.0025
    assert 7 < fit.mean_error.mean() < 9  # the noise itself, which the report must not hide


def test_a_decimated_skin_is_enough(bodies):
    *_, vertices, _ = bodies
    ids = np.arange(0, vertices.shape[1], 20)
    fit = fit_body(load_body_model(), vertices[:, ids], vertex_ids=ids, batch=4)
    assert np.linalg.norm(placed(fit) - vertices, axis=-1).max() < 1e-3
    assert fit.max_error.max() < 0.1


def test_joints_alone_are_met(bodies):
    *_, joints = bodies
    fit = fit_body(load_body_model(), joints=joints, batch=4, steps=30)
    assert fit.max_error.max() < 1


def test_betas_of_targets_that_say_little_can_be_held_small(bodies):
    *_, joints = bodies
    free = fit_body(load_body_model(), joints=joints, batch=4)
    held = fit_body(load_body_model(), joints=joints, batch=4, shape_prior=1e-3)
    assert np.abs(held.betas).max() < 0.7 * np.abs(free.betas).max()


def test_any_number_of_bodies_is_fitted_in_batches(bodies):
    *_, vertices, _ = bodies
    many = fit_body(load_body_model(), np.concatenate([vertices[:1]] * 33 + [vertices[1:2]]))
    few = fit_body(load_body_model(), vertices[:2])
    assert len(many.betas) == 34
    assert len(few.betas) == 2
    for found in zip(many, few, strict=True):
        np.testing.assert_allclose(found[0][32:], found[1], atol=1e-4)


def test_targets_that_cannot_be_fitted_are_refused(bodies):
    *_, vertices, joints = bodies
    with pytest.raises(ValueError, match="vertices or joints"):
        fit_body(load_body_model())
    with pytest.raises(ValueError, match=r"\(B, 6890, 3\)"):
        fit_body(load_body_model(), vertices[:, :100])
    with pytest.raises(ValueError, match="joints to fit to hold numbers that are not finite"):
        fit_body(load_body_model(), joints=np.full_like(joints, np.nan))
