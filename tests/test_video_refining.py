"""Motions move onto the keypoints of all frames, say by how much, and stay where keypoints are no help."""

from dataclasses import replace

import numpy as np
import pytest
from standing import FRAMES, standing_person

from hmr_jax.body import load_body_model
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry.distortion import make_lens
from hmr_jax.video.footing import POINTS
from hmr_jax.video.motion import Motion, posed_again, smoothed
from hmr_jax.video.posing import Posing
from hmr_jax.video.refining import STANDING, MotionRefiner

FEET = [KEYPOINTS_44.index(f"openpose_{name}") for name in POINTS]
BODY = load_body_model()


@pytest.fixture(scope="module")
def posing():
    return Posing(BODY)


@pytest.fixture(scope="module")
def refiner(posing):
    return MotionRefiner(BODY, posing)


@pytest.fixture(scope="module")
def truth(posing):
    """A person who stands and waves."""
    person = standing_person(posing)
    rotations = person.rotations.copy()
    for side, sign in (("left", 1), ("right", -1)):
        rotations[:, SMPL_24.index(f"{side}_shoulder"), 2] = sign * (0.4 * np.sin(4 * person.times) - 0.6)
        rotations[:, SMPL_24.index(f"{side}_elbow"), 1] = sign * -0.5
    made = posed_again(replace(person, rotations=rotations), posing)
    low, high = made.keypoints_image.min(1), made.keypoints_image.max(1)
    return replace(made, boxes=np.concatenate([low - 5, high + 5], 1))


@pytest.fixture(scope="module")
def predicted(truth, posing):
    """As a network predicts it: each joint is off by the same angles in all frames, and by some noise."""
    rng = np.random.default_rng(0)
    off = rng.normal(0, 0.1, (1, 24, 3)) + rng.normal(0, 0.05, (FRAMES, 24, 3))
    made = posed_again(replace(truth, rotations=(truth.rotations + off).astype(np.float32)), posing)
    return replace(made, keypoints_image=made.keypoints_image + rng.normal(0, 4, made.keypoints_image.shape))


def seeing(predicted: Motion, truth: Motion, noise: float = 3.0) -> Motion:
    pixels = truth.keypoints_image + np.random.default_rng(1).normal(0, noise, truth.keypoints_image.shape)
    sigma = np.full((FRAMES, 44, 1), 2 * noise)
    return replace(predicted, seen=np.concatenate([pixels, sigma], -1).astype(np.float32))


def errors(motion: Motion, truth: Motion) -> np.ndarray:
    """(F,) mm, the pelvis at the origin."""
    mine, true = (one.joints - one.joints[:, :1] for one in (motion, truth))
    return 1000 * np.linalg.norm(mine - true, axis=-1).mean(1)


def test_motions_come_nearer_to_the_truth_and_say_how_far_they_moved(refiner, predicted, truth, posing):
    start = smoothed(predicted, posing)
    refined = refiner(seeing(predicted, truth), start)
    assert errors(refined, truth).mean() < 0.6 * errors(start, truth).mean()
    before, after = (one.joints - one.joints[:, :1] for one in (start, refined))
    np.testing.assert_allclose(refined.moved, np.linalg.norm(after - before, axis=-1).mean(1), rtol=1e-5)
    assert np.ptp(refined.betas, 0).max() == 0
    placed = refined.keypoints_3d + refined.translation[:, None]
    pixels = placed[..., :2] / placed[..., 2:] * refined.focal_length + refined.principal_point
    np.testing.assert_allclose(refined.keypoints_image, pixels, atol=0.02)


@pytest.mark.slow
def test_feet_that_stand_do_not_slide_unless_they_may(refiner, predicted, truth, posing):
    paths = [
        (one.keypoints_3d + one.translation[:, None])[:, FEET]
        for one in (
            refiner(seeing(predicted, truth), smoothed(predicted, posing), stand=stand) for stand in (True, False)
        )
    ]
    speeds = [np.linalg.norm(np.diff(path, axis=0), axis=-1).mean() * 30 for path in paths]
    assert speeds[0] < 0.5 * speeds[1]
    assert speeds[0] < STANDING


def test_a_lens_is_taken_into_account(refiner, predicted, truth, posing):
    lens = make_lens([-1.0, 0.1, 0.01, 0, 0])
    bent = posed_again(replace(truth, lens=lens), posing)
    assert np.abs(bent.keypoints_image - truth.keypoints_image).max() > 5
    shift = bent.keypoints_image - truth.keypoints_image
    through = replace(predicted, lens=lens, keypoints_image=predicted.keypoints_image + shift)
    start = smoothed(through, posing)
    refined = refiner(seeing(through, bent), start)
    assert errors(refined, truth).mean() < 0.6 * errors(start, truth).mean()
    away = {
        name: np.linalg.norm(motion.translation - truth.translation, axis=-1).mean()
        for name, motion in {"lens": start, "no lens": smoothed(replace(through, lens=None), posing)}.items()
    }
    assert away["lens"] < 0.7 * away["no lens"], away
    np.testing.assert_allclose(
        start.camera.project(bent.keypoints_3d + bent.translation[:, None]), bent.keypoints_image
    )


@pytest.mark.slow
def test_keypoints_that_are_all_far_off_leave_the_motion(refiner, predicted, truth, posing):
    seen = seeing(predicted, truth)
    seen.seen[..., :2] += 500
    start = smoothed(predicted, posing)
    refined = refiner(seen, start)
    assert np.linalg.norm(refined.joints - start.joints, axis=-1).mean() < 0.03


def test_without_any_keypoint_the_motion_stays(refiner, predicted, truth, posing):
    seen = seeing(predicted, truth)
    seen.seen[..., 2] = np.inf
    start = smoothed(predicted, posing)
    refined = refiner(seen, start)
    np.testing.assert_array_equal(refined.rotations, start.rotations)
    np.testing.assert_array_equal(refined.moved, 0)


@pytest.mark.slow
def test_frames_that_were_interpolated_follow_their_neighbours(refiner, predicted, truth, posing):
    hidden = (np.arange(FRAMES) >= 25) & (np.arange(FRAMES) < 32)
    known = replace(seeing(predicted, truth), predicted=~hidden)
    rotations = known.rotations.copy()
    rotations[hidden] += 0.2
    wrong = posed_again(replace(known, rotations=rotations), posing)
    refined = refiner(wrong, smoothed(wrong, posing))
    assert errors(refined, truth)[hidden].mean() < 1.5 * errors(refined, truth)[~hidden].mean() + 10


@pytest.mark.slow
def test_the_networks_own_errors_count_where_it_tells_them(refiner, predicted, truth, posing):
    sure = replace(seeing(predicted, truth), sigma=np.full((FRAMES, 44), 0.002), keypoints_3d=truth.keypoints_3d)
    start = smoothed(predicted, posing)
    with_sigma, without = (refiner(one, start) for one in (sure, replace(sure, sigma=None)))
    assert errors(with_sigma, truth).mean() < 0.7 * errors(without, truth).mean()
