"""Worlds of videos: up is where people stand upright, the floor where their feet are, and bodies move along."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from standing import standing_person

from hmr_jax.body import load_body_model
from hmr_jax.video.motion import Motion, posed_again
from hmr_jax.video.posing import Posing
from hmr_jax.video.world import in_world, world_of

TILTED = Rotation.from_euler("zx", [25, -35], degrees=True)  # of the camera: rolled, and looking down


@pytest.fixture(scope="module")
def posing():
    return Posing(load_body_model())


def seen(motion: Motion, posing: Posing, camera: Rotation) -> Motion:
    """A motion as another camera at the same place sees it."""
    orient = (camera * Rotation.from_rotvec(motion.rotations[:, 0])).as_rotvec()
    root = motion.joints[:, 0]
    rotations = np.concatenate([orient[:, None], motion.rotations[:, 1:]], 1).astype(np.float32)
    translation = camera.apply(root + motion.translation) - root
    return posed_again(replace(motion, rotations=rotations, translation=translation.astype(np.float32)), posing)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))


def test_up_is_where_upright_people_have_it(posing):
    motion = seen(standing_person(posing, bend=0.05), posing, TILTED)
    world = world_of([motion])
    assert angle(world.rotation[1], TILTED.apply([0, -1, 0])) < 3
    assert world.source == "people"
    assert world.spread < 1
    np.testing.assert_allclose(world.rotation @ world.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(world.rotation) == pytest.approx(1)


def test_given_directions_are_taken_and_the_feet_are_on_the_floor(posing):
    motion = seen(standing_person(posing), posing, TILTED)
    world = world_of([motion], 7 * TILTED.apply([0, -1, 0]))
    assert world.source == "given"
    np.testing.assert_allclose(world.rotation[1], TILTED.apply([0, -1, 0]), atol=1e-9)
    assert angle(world.rotation[1], np.array([0, -1, 0])) > 30
    points = (motion.keypoints_3d + motion.translation[:, None]) @ world.rotation.T + world.translation
    assert np.abs(points[..., 1].min(1)).max() < 0.03
    pelvis = (motion.joints[0, 0] + motion.translation[0]) @ world.rotation.T + world.translation
    np.testing.assert_allclose(pelvis[[0, 2]], 0, atol=1e-6)


def test_a_level_camera_gives_the_axes_of_opengl(posing):
    world = world_of([standing_person(posing)], np.array([0, -1, 0]))
    np.testing.assert_allclose(world.rotation, np.diag([1, -1, -1]), atol=1e-9)


@pytest.mark.parametrize("up", [(1, 0, 0), (0, 0, 1), (-1, 0.01, 0)])
def test_cameras_on_their_side_have_a_world_too(posing, up):
    rotation = world_of([standing_person(posing)], np.array(up)).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_bodies_in_the_world_are_those_in_the_camera_moved(posing):
    motion = seen(standing_person(posing), posing, TILTED)
    motion = replace(motion, betas=motion.betas + np.float32(0.7))
    motion = posed_again(motion, posing)
    world = world_of([motion])
    orientations, translations = in_world(world, motion)
    rotations = np.concatenate([orientations[5][None], motion.rotations[5, 1:]])
    made = posing.vertices(motion.betas[5], rotations) + translations[5]
    body = posing.vertices(motion.betas[5], motion.rotations[5]) + motion.translation[5]
    np.testing.assert_allclose(made, body @ world.rotation.T + world.translation, atol=2e-5)


def test_small_people_count_little(posing):
    right = standing_person(posing, bend=0.05)
    wrong = replace(seen(right, posing, Rotation.from_euler("z", 90, degrees=True)), boxes=right.boxes / 5)
    assert angle(world_of([right, wrong]).rotation[1], np.array([0, -1, 0])) < 5


def test_people_who_bend_are_left_out_where_others_stand(posing):
    upright = standing_person(posing, bend=0.05)
    sitting = seen(standing_person(posing, bend=0.9), posing, Rotation.from_euler("z", 60, degrees=True))
    whole = replace(
        upright,
        **{
            name: np.concatenate([getattr(upright, name)[:20], getattr(sitting, name)[20:]])
            for name in ("joints", "keypoints_3d", "rotations", "translation")
        },
    )
    assert angle(world_of([whole]).rotation[1], np.array([0, -1, 0])) < 5
