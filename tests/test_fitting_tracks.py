"""Whole tracks are fitted together: exact equations over time, long tracks in windows, gaps, and feet that stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from labelled_people import labelled_people

from hmr_jax.body import load_body_model
from hmr_jax.body.fitting import NearRotations, Pose, Shape, TrackFitter, in_image
from hmr_jax.body.fitting.over_time import accelerations, couple, speeds
from hmr_jax.body.fitting.points import keypoint_points, linearise
from hmr_jax.body.fitting.pose import move
from hmr_jax.body.fitting.tracks import solve_blocks
from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.geometry import axis_angle_to_matrix

BODY = load_body_model("default")
POINTS = keypoint_points(BODY, "keypoints_44")
FOCAL, CENTER = np.full(2, 1000.0), np.full(2, 500.0)
WINDOW, AHEAD = 40, 16  # fewer frames than by default, for speed
HEEL = KEYPOINTS_44.index("openpose_left_heel")


@pytest.fixture(scope="module")
def fitter():
    return TrackFitter(BODY, window=WINDOW, ahead=AHEAD)


def moving(frames: int, rate: float = 30.0, speed: float = 0.4) -> tuple[np.ndarray, Pose]:
    """Times, and a person who goes from one pose to another and on, and walks sideways."""
    labels, times = labelled_people(2, seed=3), np.arange(frames) / rate
    share = 0.5 + 0.5 * np.sin(1.5 * times)
    vectors = labels["pose"][0] + 0.3 * share[:, None, None] * (labels["pose"][1] - labels["pose"][0])
    vectors[:, 0] = labels["pose"][0, 0]
    place = np.array([0, 0, 5.0]) + np.outer(times, [speed, 0, 0.1])
    betas = np.broadcast_to(labels["betas"][0], (frames, 10))
    rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(vectors, jnp.float32)))
    return times, Pose(*(np.asarray(array, np.float32) for array in (betas, rotations, place)))


def points_of(pose: Pose) -> np.ndarray:
    return np.asarray(linearise(POINTS, BODY.parents, Pose(*map(jnp.asarray, pose))).points)


def disturbed(pose: Pose, angle: float, seed: int = 0) -> Pose:
    rng = np.random.default_rng(seed)
    turned = axis_angle_to_matrix(jnp.asarray(rng.normal(0, angle, pose.rotations.shape[:3]), jnp.float32))
    place = pose.translation + rng.normal(0, 0.05, pose.translation.shape).astype(np.float32)
    return pose._replace(rotations=np.asarray(turned) @ pose.rotations, translation=place)


def terms_of(pose: Pose, start: Pose, noise: float = 3.0, seed: int = 1) -> list:
    points = points_of(pose)
    pixels = points[..., :2] / points[..., 2:] * FOCAL + CENTER
    pixels += np.random.default_rng(seed).normal(0, noise, pixels.shape)
    near = NearRotations(start.rotations, np.full(start.rotations.shape[:2], 0.3, np.float32))
    shape = Shape(start.betas, np.full_like(start.betas, 0.01))
    return [in_image(pixels, np.full(pixels.shape[:2], noise), FOCAL, CENTER), near, shape]


def errors(pose: Pose, truth: Pose) -> np.ndarray:
    """(F,) mm, with the pelvis at the origin."""
    mine, true = (points - points[:, 39:40] for points in map(points_of, (pose, truth)))
    return 1000 * np.linalg.norm(mine - true, axis=-1).mean(1)


def test_blocks_of_neighbours_are_solved_exactly():
    rng = np.random.default_rng(0)
    frames, count = 30, 6
    rows = np.zeros((frames, 9, (frames + 2) * count))
    for frame in range(frames):
        rows[frame, :, frame * count : (frame + 3) * count] = rng.normal(0, 10.0, (9, 3 * count))
    flat = rows.reshape(-1, rows.shape[-1])[:, : frames * count]
    matrix, right = flat.T @ flat + 1e-2 * np.eye(frames * count), rng.normal(size=(frames, count))
    blocks = np.zeros((3, frames, count, count))
    for frame in range(frames):
        for by in range(min(3, frames - frame)):
            own, other = (slice(one * count, (one + 1) * count) for one in (frame, frame + by))
            blocks[by, frame] = matrix[own, other]
    found = solve_blocks(*blocks, right)
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(matrix, right.ravel()), rtol=1e-6, atol=1e-8)


def test_systems_as_stiff_as_those_of_videos_do_not_fall_apart_over_many_frames():
    times, truth = moving(64, rate=240.0)
    at = linearise(POINTS, BODY.parents, Pose(*map(jnp.asarray, truth)))
    bound = couple([accelerations(times, np.full(44, 10.0))], np.asarray(at.points), np.asarray(at.jacobian))
    own = bound.same + 30.0 * np.eye(bound.same.shape[-1])
    right = np.random.default_rng(0).normal(size=bound.gradient.shape)
    found = solve_blocks(own, bound.next, bound.second, right)
    again = np.einsum("fpq,fq->fp", own, found)
    for by, block in ((1, bound.next), (2, bound.second)):
        again[:-by] += np.einsum("fpq,fq->fp", block[:-by], found[by:])
        again[by:] += np.einsum("fqp,fq->fp", block[:-by], found[:-by])
    np.testing.assert_allclose(again, right, atol=1e-4)


def test_terms_over_time_have_the_derivatives_of_their_cost():
    times, truth = moving(6)
    times = times + np.array([0, 0.01, 0, 0, 0.02, 0.03])  # irregular
    pose = Pose(*map(jnp.asarray, disturbed(truth, 0.05)))
    standing = np.zeros((6, 44))
    standing[2:4, HEEL] = 20.0
    terms = [accelerations(times, np.full(44, 10.0), robust=4.0), speeds(times, standing)]

    def bound(step):
        at = linearise(POINTS, BODY.parents, move(pose, jnp.asarray(step, jnp.float32)))
        return couple(terms, np.asarray(at.points), np.asarray(at.jacobian))

    here = bound(np.zeros((6, 85)))
    rng = np.random.default_rng(0)
    for _ in range(3):
        step = rng.normal(size=(6, 85))
        slope = (bound(1e-3 * step).cost - bound(-1e-3 * step).cost) / 2e-3
        assert 2 * np.sum(here.gradient * step) == pytest.approx(slope, rel=0.02)


def test_points_at_constant_speed_cost_nothing_at_irregular_times():
    times = np.array([0, 0.1, 0.3, 0.35, 0.6])
    points = np.array([1.0, 2, 3]) + times[:, None, None] * np.ones((5, 44, 1)) * np.array([2.0, 0, -1])
    jacobian = np.zeros((5, 44, 3, 2))
    assert couple([accelerations(times, np.ones(44))], points, jacobian).cost == pytest.approx(0, abs=1e-20)
    assert couple([speeds(times, np.ones((5, 44)))], points, jacobian).cost > 100


def test_a_track_is_nearer_to_the_truth_than_its_frames(fitter):
    times, truth = moving(WINDOW)
    start = disturbed(truth, 0.15)
    terms = terms_of(truth, start, noise=6.0)
    whole = fitter(terms, times, start)
    alone = fitter(terms, times, start, acceleration=1e4)
    assert errors(whole, truth).mean() < 0.75 * errors(alone, truth).mean() < 0.75 * errors(start, truth).mean()
    bends = [np.linalg.norm(np.diff(points_of(pose), 2, axis=0), axis=-1).mean() for pose in (whole, alone)]
    assert bends[0] < 0.2 * bends[1]


@pytest.mark.slow
def test_long_tracks_have_no_seams(fitter):
    frames = WINDOW + 30
    times, truth = moving(frames)
    start = disturbed(truth, 0.1)
    fit = fitter(terms_of(truth, start), times, start)
    seam = WINDOW - AHEAD
    bends = np.linalg.norm(np.diff(points_of(fit), 2, axis=0), axis=-1).mean(1)
    assert bends[seam - 4 : seam + 4].max() < 2 * np.quantile(bends, 0.9)
    assert errors(fit, truth).max() < 2 * np.median(errors(fit, truth))


@pytest.mark.slow
def test_frames_without_keypoints_follow_from_their_neighbours(fitter):
    times, truth = moving(WINDOW)
    start = disturbed(truth, 0.1)
    seen, near, shape = terms_of(truth, start, noise=2.0)
    hidden = np.arange(WINDOW) // 4 == 3
    seen.weights[hidden] = 0
    near = near._replace(sigma=np.where(hidden[:, None], 1.0, near.sigma).astype(np.float32))
    fit = fitter([seen, near, shape], times, start)
    assert errors(fit, truth)[hidden].mean() < 1.5 * errors(fit, truth)[~hidden].mean() + 5
    assert np.linalg.norm(fit.translation - truth.translation, axis=-1)[hidden].max() < 0.1


@pytest.mark.slow
def test_points_that_stand_stay_and_others_move(fitter):
    times, truth = moving(WINDOW, speed=0.15)
    start = truth._replace(translation=truth.translation + np.float32([0.03, 0.03, 0.1]))  # smooth, as motions are
    terms, standing = terms_of(truth, start), np.zeros((WINDOW, 44))
    standing[10:20, HEEL] = 1 / 0.02
    paths = [points_of(fitter(terms, times, start, still))[:, HEEL] for still in (None, standing)]
    moved = [np.linalg.norm(path[20] - path[10]) for path in paths]
    assert moved[1] < 0.3 * moved[0]
    assert np.linalg.norm(paths[1][9] - paths[1][0]) > 0.5 * np.linalg.norm(paths[0][9] - paths[0][0])


def test_one_frame_alone_is_a_track(fitter):
    times, truth = moving(1)
    start = disturbed(truth, 0.1)
    fit = fitter(terms_of(truth, start, noise=1.0), times, start)
    assert errors(fit, truth)[0] < errors(start, truth)[0]


def test_a_track_of_another_length_than_its_times_is_refused(fitter):
    times, truth = moving(5)
    terms = terms_of(truth, truth)
    with pytest.raises(ValueError, match="There are 4 times, but arrays of \\[5\\] frames"):
        fitter(terms, times[:4], truth)
    with pytest.raises(ValueError, match="must ascend"):
        fitter(terms, times[::-1], truth)
    assert jax.config.jax_enable_x64 is False
