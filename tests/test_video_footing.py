"""Feet that stand do not slide, those that step do, and the legs reach where the feet are to stand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from standing import FRAMES, standing_person

from hmr_jax.body import load_body_model
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.video import footing
from hmr_jax.video.footing import POINTS, find_stances, planted
from hmr_jax.video.motion import Motion, posed_again
from hmr_jax.video.posing import Posing

FEET = [KEYPOINTS_44.index(f"openpose_{name}") for name in POINTS]
ANKLES = [SMPL_24.index("left_ankle"), SMPL_24.index("right_ankle")]


@pytest.fixture(scope="module")
def posing():
    return Posing(load_body_model())


@pytest.fixture
def standing(posing):
    return standing_person(posing)


def speeds(motion: Motion) -> np.ndarray:
    """(F, 4) metres per second of heels and toes."""
    points = motion.keypoints_3d[:, FEET] + motion.translation[:, None]
    return np.linalg.norm(np.gradient(points, motion.times, axis=0), axis=-1)


def test_a_translation_that_wavers_is_held(standing, posing):
    time = standing.times[:, None]
    waver = 0.06 * np.sin(2 * np.pi * time * [0.7, 1.1, 0.9])  # most of it in depth, where the image says nothing
    wrong = replace(standing, translation=(standing.translation + waver).astype(np.float32))
    right = planted(wrong, posing)
    assert speeds(wrong).mean() > 0.2
    assert speeds(right).mean() < 0.01
    np.testing.assert_allclose(right.rotations, wrong.rotations, atol=0.01)
    np.testing.assert_array_equal(right.keypoints_image, wrong.keypoints_image)
    assert np.abs((right.translation - standing.translation).mean(0)).max() < 0.03


def test_feet_that_slide_against_each_other_are_held_by_the_legs(standing, posing):
    rotations = standing.rotations.copy()
    rotations[:, SMPL_24.index("left_hip"), 0] += 0.08 * np.sin(6 * standing.times)
    seen = standing.keypoints_image
    wrong = replace(posed_again(replace(standing, rotations=rotations), posing), keypoints_image=seen)
    right = planted(wrong, posing)
    assert speeds(right).mean() < speeds(wrong).mean() / 4
    upper = [i for i, name in enumerate(SMPL_24) if not name.endswith(("hip", "knee", "ankle"))]
    np.testing.assert_array_equal(right.rotations[:, upper], wrong.rotations[:, upper])


def test_feet_that_step_are_free(standing, posing):
    walk = standing.times[:, None] * np.array([1.5, 0, 0])
    moving = posed_again(replace(standing, translation=(standing.translation + walk).astype(np.float32)), posing)
    assert find_stances(moving).total == 0
    assert planted(moving, posing) is moving


def test_a_step_between_two_stances_moves_the_place(standing, posing):
    step = 0.9 * np.clip((standing.times - 0.8) / 0.4, 0, 1)
    moving = posed_again(
        replace(standing, translation=(standing.translation + step[:, None] * [1, 0, 0]).astype(np.float32)), posing
    )
    stances = find_stances(moving)
    assert stances.total == 8
    right = planted(moving, posing)
    gone = (right.translation - right.translation[0])[[20, -1], 0]
    np.testing.assert_allclose(gone, [0, 0.9], atol=0.05)


@pytest.mark.parametrize("why", ["interpolated", "unsure", "short"])
def test_doubtful_contacts_are_none(standing, why):
    if why == "interpolated":
        doubtful = replace(standing, predicted=np.zeros(FRAMES, bool))
    elif why == "unsure":
        doubtful = replace(standing, sigma=np.full((FRAMES, 44), 2 * footing.UNSURE))
    else:
        doubtful = replace(standing, predicted=np.arange(FRAMES) % 3 != 0)
    assert find_stances(standing).total == 4
    assert find_stances(doubtful).total == 0


def test_a_leg_reaches_where_it_is_to(standing, posing):
    move = np.random.default_rng(0).normal(0, 0.03, (FRAMES, 3))
    leg = tuple(SMPL_24.index(f"left_{part}") for part in ("hip", "knee", "ankle"))
    rotations = footing._reach(standing.rotations.astype(float), standing.joints, leg, move)
    reached = posed_again(replace(standing, rotations=rotations), posing)
    np.testing.assert_allclose(reached.joints[:, ANKLES[0]], standing.joints[:, ANKLES[0]] + move, atol=2e-4)
    np.testing.assert_allclose(reached.joints[:, ANKLES[1]], standing.joints[:, ANKLES[1]], atol=1e-6)

    def attitude(turns: np.ndarray) -> np.ndarray:
        whole = Rotation.identity(FRAMES)
        for joint in (0, *leg):
            whole = whole * Rotation.from_rotvec(turns[:, joint])
        return whole.as_matrix()

    np.testing.assert_allclose(attitude(rotations), attitude(standing.rotations), atol=1e-6)
