"""Predicted bodies move onto keypoints of their image, and stay as they are where these say nothing better."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from labelled_people import labelled_people

from hmr_jax.body import joint_set_matrix, load_body_model, skin
from hmr_jax.body.joints import KEYPOINTS_44, KEYPOINTS_44_FLIP
from hmr_jax.geometry import axis_angle_to_matrix, crop_translation, project
from hmr_jax.geometry.distortion import distort, make_lens
from hmr_jax.inference.landmarks import LANDMARK_OF, landmarks_in_image
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.refining import Refiner

COUNT = 4
BODY = load_body_model("default")
FOCAL = 5000.0


def posed(betas, rotations):
    matrix, ids = joint_set_matrix(BODY, "keypoints_44")
    out = jax.jit(skin)(BODY, betas, rotations)
    points = np.einsum("kn,bnc->bkc", matrix, np.concatenate([out.joints, out.vertices[:, ids]], 1))
    return np.asarray(out.vertices), np.asarray(out.joints), points


@pytest.fixture(scope="module")
def labels():
    return labelled_people(COUNT, seed=6)


@pytest.fixture(scope="module")
def people(labels):
    """As a network predicts them: every joint turned by some degrees, betas and place off."""
    rng = np.random.default_rng(0)
    vectors = jnp.asarray(rng.normal(0, 0.12, (COUNT, 24, 3)), jnp.float32)
    rotations = np.asarray(axis_angle_to_matrix(vectors) @ axis_angle_to_matrix(jnp.asarray(labels["pose"])))
    betas = (labels["betas"] + rng.normal(0, 0.3, (COUNT, 10))).astype(np.float32)
    vertices, joints, points = posed(betas, rotations)
    found = []
    for i in range(COUNT):
        matrix = labels["intrinsics"][i]
        focal, center = matrix[[0, 1], [0, 1]], matrix[:2, 2]
        seen = project(points[i : i + 1], labels["translation"][i : i + 1], focal, center)[0]
        middle = labels["box_center"][i]
        found.append(
            PersonPrediction(
                0, np.zeros(4), middle, float(labels["box_size"][i]), focal, center, labels["translation"][i],
                rotations[i, :1], rotations[i, 1:], betas[i], np.array([0.9, 0, 0]), joints[i], points[i],
                np.zeros((44, 2)), seen, vertices[i], np.zeros((8, 8, 3), np.uint8),
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def refiner():
    return Refiner(BODY, FOCAL, COUNT)


def truth_2d(labels):
    return labels["keypoints_2d"][..., :2]


def pelvis_errors(found, labels) -> np.ndarray:
    """(B,) mm."""
    vertices, joints, _ = posed(labels["betas"], np.asarray(axis_angle_to_matrix(jnp.asarray(labels["pose"]))))
    true = vertices - joints[:, :1]
    mine = np.stack([person.vertices - person.joints[0] for person in found])
    return 1000 * np.linalg.norm(mine - true, axis=-1).mean(1)


def test_bodies_come_nearer_to_the_truth(refiner, people, labels):
    refined = refiner(people, truth_2d(labels), np.full((COUNT, 44), 1.0))
    before, after = pelvis_errors(people, labels), pelvis_errors(refined, labels)
    assert np.mean(after) < 0.75 * np.mean(before)
    for person, pixels in zip(refined, truth_2d(labels), strict=True):
        assert np.linalg.norm(person.keypoints_image - pixels, axis=-1).mean() < 2.5
    moved = 1000 * np.array([person.moved for person in refined])
    assert (moved > np.abs(before - after)).all()
    assert (moved < before + after).all()


def test_all_fields_are_of_the_same_body(refiner, people, labels):
    turned = [replace(person, box_turn=30.0) for person in people]
    for person in refiner(turned, truth_2d(labels), np.full((COUNT, 44), 1.0)):
        rotations = np.concatenate([person.global_orient, person.body_pose])[None]
        vertices, joints, points = posed(person.betas[None], rotations)
        np.testing.assert_allclose(person.vertices, vertices[0], atol=1e-4)
        np.testing.assert_allclose(person.joints, joints[0], atol=1e-4)
        np.testing.assert_allclose(person.keypoints_3d, points[0], atol=1e-4)
        seen = project(points, person.translation[None], person.focal_length, person.principal_point)[0]
        np.testing.assert_allclose(person.keypoints_image, seen, atol=0.05)
        in_crop = (seen - person.box_center) / person.box_size
        angle = np.radians(30)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(person.keypoints_2d @ turn.T, in_crop, atol=1e-3)
        place = np.asarray(crop_translation(jnp.asarray(person.camera[None]), FOCAL))
        through = project(points, place, np.full(2, FOCAL / 256))[0]
        assert np.linalg.norm(through - in_crop, axis=-1).mean() < 0.03  # the crop's lens is longer than the image's


def test_keypoints_that_are_far_off_or_not_known_leave_the_body(refiner, people, labels):
    wrong = truth_2d(labels).copy()
    wrong[:, 4] += 500
    sigma = np.full((COUNT, 44), 1.0)
    sound, spoiled = refiner(people, truth_2d(labels), sigma), refiner(people, wrong, sigma)
    assert np.mean(pelvis_errors(spoiled, labels)) < 1.3 * np.mean(pelvis_errors(sound, labels))
    for person, same in zip(people, refiner(people, wrong, np.full((COUNT, 44), np.inf)), strict=True):
        assert same.moved == 0
        np.testing.assert_array_equal(same.vertices, person.vertices)


def test_what_the_network_guesses_outside_of_the_crop_counts_little(refiner, people, labels):
    side = [0.3 * person.box_size for person in people]
    cut = [replace(person, box_size=one) for person, one in zip(people, side, strict=True)]
    guessed = []
    for person in cut:
        outside = np.abs((person.keypoints_image - person.box_center) / person.box_size).max(-1) > 0.5
        assert 5 < outside.sum() < 44
        shifted = person.keypoints_image + np.where(outside[:, None], [0.5 * person.box_size, 0], 0)
        away = np.abs((shifted - person.box_center) / person.box_size).max(-1) > 0.5
        guessed.append(replace(person, keypoints_image=np.where(away[:, None], shifted, person.keypoints_image)))
    sigma = np.full((COUNT, 44), 2.0)
    sound, spoiled = (refiner(those, truth_2d(labels), sigma) for those in (cut, guessed))
    points = [np.stack([person.keypoints_3d for person in those]) for those in (sound, spoiled)]
    changes = np.linalg.norm(points[0] - points[1], axis=-1).mean(1)
    assert np.mean(changes) < 0.02  # 0.07 if they counted as much as the others


def test_swapped_sides_turn_the_body_which_it_says(refiner, people, labels):
    sigma = np.full((COUNT, 44), 1.0)
    sound = refiner(people, truth_2d(labels), sigma)
    swapped = refiner(people, truth_2d(labels)[:, KEYPOINTS_44_FLIP], sigma)
    assert all(np.isfinite(person.vertices).all() for person in swapped)
    assert np.mean([person.moved for person in swapped]) > 1.5 * np.mean([person.moved for person in sound])


def test_a_lens_is_looked_through(refiner, people, labels):
    lens = make_lens([-0.2, 0.05, 0.001, -0.001, 0.0])
    bent, shown = [], []
    for person, pixels in zip(people, truth_2d(labels), strict=True):

        def bend(points, person=person):
            ideal = (points - person.principal_point) / person.focal_length
            return distort(ideal, *lens) * person.focal_length + person.principal_point

        bent.append(replace(person, lens=lens, keypoints_image=bend(person.keypoints_image)))
        shown.append(bend(pixels))
    sigma = np.full((COUNT, 44), 1.0)
    plain, lensed = refiner(people, truth_2d(labels), sigma), refiner(bent, np.stack(shown), sigma)
    for one, other, pixels in zip(plain, lensed, shown, strict=True):
        np.testing.assert_allclose(other.vertices, one.vertices, atol=2e-3)
        assert np.linalg.norm(other.keypoints_image - pixels, axis=-1).mean() < 2.5


def test_predicted_errors_hold_what_is_sure(refiner, people, labels):
    sigma = np.full((COUNT, 44), 1.0)
    sure = [replace(person, sigma=np.full(44, 0.002, np.float32)) for person in people]
    free, held = refiner(people, truth_2d(labels), sigma), refiner(sure, truth_2d(labels), sigma)
    assert np.mean([person.moved for person in held]) < 0.5 * np.mean([person.moved for person in free])


def test_landmarks_are_where_the_turned_crop_has_them():
    found = np.zeros((1, 39, 8))
    found[0, 0, :4] = 0.25, 0, 0, 0.4
    found[0, 1, :4] = 0.6, 0, 0, 0.4  # outside of the crop
    placed = landmarks_in_image(found, np.array([[100, 50]]), np.array([40]), np.array([90]))
    assert placed.shape == (1, 33, 3)
    np.testing.assert_allclose(placed[0, 0], [100, 60, 0.9], atol=1e-4)
    assert placed[0, 1, 2] == 0


def test_landmarks_and_keypoints_are_the_same_points():
    numbers = {KEYPOINTS_44[keypoint].removeprefix("openpose_"): landmark for keypoint, landmark in LANDMARK_OF.items()}
    assert numbers["left_eye"] == 2
    assert numbers["right_eye"] == 5
    assert (numbers["left_wrist"], numbers["right_wrist"]) == (15, 16)
    assert (numbers["left_big_toe"], numbers["right_big_toe"]) == (31, 32)
    assert len(numbers) == 21
