"""Bodies are found from keypoints in images and in space, and what cannot be fitted is refused."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from labelled_people import labelled_people
from scipy.spatial.transform import Rotation

from hmr_jax.body import load_body_model, skin
from hmr_jax.body.fitting import (
    KeypointFitter,
    KeypointsAround,
    Limits,
    NearRotations,
    Place,
    Pose,
    Shape,
    in_image,
    in_space,
)
from hmr_jax.body.fitting.points import keypoint_points, linearise
from hmr_jax.body.fitting.pose import move, rotation_vectors
from hmr_jax.body.fitting.pose_prior import load_pose_prior
from hmr_jax.body.fitting.solver import solve_positive
from hmr_jax.body.fitting.terms import Keypoints2D
from hmr_jax.body.joints import KEYPOINTS_44_FLIP
from hmr_jax.geometry import axis_angle_to_matrix

COUNT = 8  # one batch, one program
BODY = load_body_model("default")


@pytest.fixture(scope="module")
def people():
    return labelled_people(COUNT, seed=5)


@pytest.fixture(scope="module")
def fitter():
    return KeypointFitter(BODY)


def truth(people) -> Pose:
    return Pose(people["betas"], np.asarray(axis_angle_to_matrix(people["pose"])), people["translation"])


def seen(people, sigma=0.05, noise=0.0, missing=None, **options):
    keypoints = people["keypoints_2d"][..., :2] + noise * np.random.default_rng(0).normal(size=(COUNT, 44, 2))
    focal, center = people["intrinsics"][:, [0, 1], [0, 1]], people["intrinsics"][:, :2, 2]
    sigmas = np.full((COUNT, 44), sigma)
    if missing is not None:
        sigmas[missing] = np.inf
    return in_image(keypoints, sigmas, focal, center, **options)


def solid(people, sigma=0.0005):
    return in_space(people["keypoints_3d"][..., :3], np.full((COUNT, 44), sigma))


def vertex_errors(fit, people) -> np.ndarray:
    """(B,) mm."""
    mine, its = (np.asarray(jax.jit(skin)(BODY, *pose).vertices) for pose in (fit[:3], truth(people)))
    return 1000 * np.linalg.norm(mine - its, axis=-1).mean(1)


# ---- the pieces


def test_rotation_vectors_change_as_stated():
    rotations = Rotation.random(20, rng=0).as_matrix()
    rotations[0] = np.eye(3)
    small = 1e-4 * np.eye(3)
    vectors, by_step = rotation_vectors(jnp.asarray(rotations, jnp.float32))
    for axis in range(3):
        turned = Rotation.from_rotvec(small[axis]) * Rotation.from_matrix(rotations)
        back = Rotation.from_rotvec(-small[axis]) * Rotation.from_matrix(rotations)
        slope = (turned.as_rotvec() - back.as_rotvec()) / 2e-4
        usual = np.linalg.norm(vectors, axis=-1) < 3  # nearer to pi a small step may change the sign
        np.testing.assert_allclose(by_step[usual, :, axis], slope[usual], atol=2e-3)


def _terms():
    rng = np.random.default_rng(1)
    rotations = Rotation.random(2 * 2, rng=rng).as_matrix().reshape(2, 2, 3, 3)
    cameras = Keypoints2D(
        rng.normal(0, 0.3, (2, 2, 44, 2)), rng.uniform(0, 50, (2, 2, 44)), rotations, np.tile([0.0, 0, 5], (2, 2, 1)),
        np.full(2, 1e6),
    )  # fmt: skip
    near = np.broadcast_to(np.eye(3), (2, 24, 3, 3))
    prior = load_pose_prior()
    return {
        "cameras": cameras,
        "space": in_space(rng.normal(0, 1, (2, 44, 3)), rng.uniform(0.1, 1, (2, 44)), robust=1e6),
        "around": KeypointsAround(
            rng.normal(0, 1, (2, 44, 3)), rng.uniform(0.1, 1, (2, 44)), np.array([39, 8], np.int32)
        ),
        "near": NearRotations(near, np.full((2, 24), 0.3)),
        "shape": Shape(np.ones((2, 10)), np.full((2, 10), 0.5)),
        "place": Place(np.ones((2, 3)), np.full((2, 3), 0.1)),
        "limits": Limits(np.full((23, 3), -0.1), np.full((23, 3), 0.1)),
        "flow": prior.flow,
    }


@pytest.mark.parametrize("name", _terms())
def test_the_gradient_of_each_term_is_that_of_its_cost(name):
    term = jax.tree.map(
        lambda array: jnp.asarray(array, jnp.int32 if np.asarray(array).dtype == np.int32 else jnp.float32),
        _terms()[name],
    )
    rng = np.random.default_rng(2)
    pose = Pose(
        jnp.asarray(rng.normal(0, 1, (2, 10)), jnp.float32),
        axis_angle_to_matrix(jnp.asarray(rng.normal(0, 0.3, (2, 24, 3)), jnp.float32)),
        jnp.asarray(rng.normal(0, 0.2, (2, 3)), jnp.float32),
    )
    points = keypoint_points(BODY, "keypoints_44")

    @jax.jit
    def both(pose):
        def cost(step):
            return term(linearise(points, BODY.parents, move(pose, step))).cost.sum()

        here = term(linearise(points, BODY.parents, pose))
        return here.gradient, jax.grad(cost)(jnp.zeros((2, 85))) / 2

    stated, true = both(pose)
    assert np.abs(true).max() > 0.1
    np.testing.assert_allclose(stated, true, atol=2e-3 * np.abs(true).max())


def test_the_prior_is_wide_where_people_move_and_has_the_poses_it_learned():
    flow = load_pose_prior().flow
    numbers = np.random.default_rng(0).standard_normal((512, 69)).astype(np.float32)
    poses = jax.jit(flow.from_normal)(numbers)
    np.testing.assert_allclose(jax.jit(flow.to_normal)(poses), numbers, atol=2e-3)
    knees = np.asarray(poses).reshape(512, 23, 3)[:, 3, 0]  # left knee, bent about x
    assert np.quantile(knees, 0.05) > -0.3  # knees do not bend forward
    assert np.quantile(knees, 0.95) > 1.0


def test_equations_of_positive_matrices_are_solved():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3, 20, 20))
    matrix = (matrix @ np.swapaxes(matrix, 1, 2) + np.eye(20)).astype(np.float32)
    right = rng.normal(size=(3, 20, 2)).astype(np.float32)
    np.testing.assert_allclose(solve_positive(matrix, right), np.linalg.solve(matrix, right), atol=1e-3)


def test_two_threads_may_fit_at_once():
    """With LAPACK's programs they blocked each other; the prior is part of it."""
    count = 4
    program = f"""
import faulthandler, threading
faulthandler.dump_traceback_later(120, exit=True)
import numpy as np
from hmr_jax.body import load_body_model
from hmr_jax.body.fitting import KeypointFitter, Pose, in_image
fitter = KeypointFitter(load_body_model(), batches=({count},))
keypoints = np.random.default_rng(0).uniform(0, 256, ({count}, 44, 2))
seen = in_image(keypoints, np.full(({count}, 44), 5.0), np.full(2, 500.0), np.full(2, 128.0))
rotations = np.tile(np.eye(3, dtype=np.float32), ({count}, 24, 1, 1))
start = Pose(np.zeros(({count}, 10), np.float32), rotations, np.tile(np.float32([0, 0, 5]), ({count}, 1)))
threads = [threading.Thread(target=lambda: [fitter([seen], start, 5) for _ in range(10)]) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- exact keypoints


def test_keypoints_in_space_give_the_body_back(fitter, people):
    fit = fitter([solid(people)])
    off = 1000 * np.linalg.norm(fit.keypoints - people["keypoints_3d"][..., :3], axis=-1)
    assert off.max() < 3
    assert np.median(vertex_errors(fit, people)) < 7  # hands turn freely, as the 44 keypoints end at the wrists


def test_finger_tips_hold_the_hands(people):
    points = linearise(keypoint_points(BODY, "smpl_45"), BODY.parents, truth(people)).points
    fit = KeypointFitter(BODY, "smpl_45")([in_space(np.asarray(points), np.full((COUNT, 45), 0.0005))])
    assert np.median(vertex_errors(fit, people)) < 1


def test_keypoints_in_an_image_are_met_without_any_start(fitter, people):
    fit = fitter([seen(people)])
    focal, center = people["intrinsics"][:, None, [0, 1], [0, 1]], people["intrinsics"][:, None, :2, 2]
    pixels = fit.keypoints[..., :2] / fit.keypoints[..., 2:] * focal + center
    off = np.linalg.norm(pixels - people["keypoints_2d"][..., :2], axis=-1).mean(1)
    assert np.median(off) < 0.2
    assert np.median(vertex_errors(fit, people)) < 40


def test_errors_under_noise_are_those_that_the_fit_states(fitter, people):
    missing = np.random.default_rng(1).random((COUNT, 44)) < 0.2
    fit = fitter([seen(people, 2.0, 2.0, missing)], start=truth(people))
    off = np.linalg.norm(fit.keypoints - people["keypoints_3d"][..., :3], axis=-1)
    ratio = np.sqrt((off**2).mean(1)) / np.sqrt((fit.sigma**2).mean(1))
    assert 0.2 < np.median(ratio) < 1.3


@pytest.mark.slow
def test_several_cameras_determine_the_body(people):
    count = 4
    matrices = Rotation.from_rotvec(np.pi / 2 * np.arange(count)[:, None] * [0.0, 1, 0]).as_matrix()
    center = people["keypoints_3d"][:, 39, :3]
    shift = np.array([0, 0, 4.0]) - np.einsum("cij,bj->bci", matrices, center)
    points = np.einsum("cij,bkj->bcki", matrices, people["keypoints_3d"][..., :3]) + shift[:, :, None]
    weights = np.full((COUNT, count, 44), 1000.0)
    weights[:, 0, 5:9] = 0  # a camera may miss some
    cameras = Keypoints2D(
        points[..., :2] / points[..., 2:], weights, np.broadcast_to(matrices, (COUNT, count, 3, 3)), shift,
        np.full(COUNT, 8.0),
    )  # fmt: skip
    rough = KeypointFitter(BODY)([solid(people, 0.05)])
    fit = KeypointFitter(BODY)([cameras], start=Pose(*rough[:3]))
    assert np.linalg.norm(fit.keypoints - people["keypoints_3d"][..., :3], axis=-1).max() < 0.01


# ---- bad input


@pytest.mark.slow
def test_a_keypoint_far_off_is_left_alone(fitter, people):
    wrong = dict(people, keypoints_2d=people["keypoints_2d"].copy())
    wrong["keypoints_2d"][:, 4, :2] += 500  # right wrist
    sound, spoiled = (fitter([seen(one, 1.0)]) for one in (people, wrong))
    assert np.median(vertex_errors(spoiled, people)) < 1.5 * np.median(vertex_errors(sound, people)) + 10


@pytest.mark.slow
def test_swapped_sides_give_a_body_of_high_cost(fitter, people):
    swapped = dict(people, keypoints_2d=people["keypoints_2d"][:, KEYPOINTS_44_FLIP])
    fit = fitter([seen(swapped, 1.0, robust=100.0)])
    assert all(np.isfinite(array).all() for array in fit)
    assert np.median(fit.cost) > 1.3 * np.median(fitter([seen(people, 1.0, robust=100.0)]).cost)


def test_people_behind_the_camera_stay_finite(fitter, people):
    start = truth(people)
    behind = start._replace(translation=start.translation * [1, 1, -1])
    fit = fitter([seen(people, 1.0)], start=behind)
    assert all(np.isfinite(array).all() for array in fit)


def test_few_keypoints_need_a_start(fitter, people):
    missing = np.ones((COUNT, 44), bool)
    missing[:, :3] = False
    with pytest.raises(ValueError, match="Body 0 has 3 keypoints, and 8 bodies have fewer than 4: leave them out"):
        fitter([seen(people, missing=missing)])
    fit = fitter([seen(people, 1.0, missing=missing)], start=truth(people))
    assert all(np.isfinite(array).all() for array in fit)
    missing[:] = True
    with pytest.raises(ValueError, match="Body 0 has 0 keypoints"):
        fitter([seen(people, missing=missing)])


def test_what_does_not_fit_together_is_refused(fitter, people):
    with pytest.raises(ValueError, match="at least one term"):
        fitter([])
    with pytest.raises(ValueError, match="of 7, 8 bodies"):
        fitter([seen(people), Shape(np.zeros((7, 10)), np.ones((7, 10)))])
    with pytest.raises(ValueError, match="mean of Shape holds numbers that are not finite"):
        fitter([seen(people), Shape(np.full((COUNT, 10), np.nan), np.ones((COUNT, 10)))])
    with pytest.raises(ValueError, match="Keypoints2D has 44 keypoints, but the set has 24"):
        KeypointFitter(BODY, "smpl_24")([seen(people)])
    with pytest.raises(ValueError, match="Give `start`"):
        fitter([Shape(np.zeros((2, 10)), np.ones((2, 10)))])
