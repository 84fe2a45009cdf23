"""Upright crops: the turn is found, what the network says is turned back exactly, and crops turn about their centre."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from hmr_jax.batch import Prediction
from hmr_jax.detection import Detections
from hmr_jax.geometry.crops import CropInTurns, extract_crop
from hmr_jax.geometry.intrinsics import image_camera
from hmr_jax.geometry.upright import rotation_z, tilt
from hmr_jax.inference.asked import people_asked_for
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.upright import find_turns, look_upright, turn_back

TILTS = np.array([0.0, 8.0, -40.0, 100.0, 179.0, -170.0])


def standing(degrees: np.ndarray) -> np.ndarray:
    """(B, 39, 2) landmarks of people who lean clockwise by some degrees."""
    points = np.zeros((len(degrees), 39, 2))
    points[:, [11, 12]] = [[0.1, -0.3], [-0.1, -0.3]]
    points[:, [23, 24]] = [[0.08, 0.1], [-0.08, 0.1]]
    return points @ rotation_z(degrees)[:, :2, :2].mT


def test_tilt_is_the_angle_of_the_trunk():
    points = standing(TILTS)
    np.testing.assert_allclose(tilt(points[:, [23, 24]], points[:, [11, 12]]), TILTS, atol=1e-9)


def test_the_search_starts_as_the_detector_saw_people_lean():
    image = np.zeros((90, 120, 3), np.uint8)
    photo = Photo(Path("image"), image, image_camera((120, 90), None))
    boxes = np.tile([20.0, 10.0, 70.0, 80.0], (len(TILTS), 1))
    landmarks = 40 + 30 * standing(TILTS)[:, :33]
    found = [Detections(boxes, np.ones(len(TILTS)), landmarks), Detections(boxes[:2], np.ones(2)), boxes[:1]]

    def starts(turns=None, upright=True):
        asked = people_asked_for([photo] * 3, found, 1.0, [None] * 3, turns, upright)
        return [one["box_turn"] for one in asked]

    np.testing.assert_allclose(starts(), [*TILTS, 0, 0, 0], atol=1e-9)
    given = [np.full(len(TILTS), 3.0), np.full(2, 4.0), np.full(1, 5.0)]
    np.testing.assert_allclose(starts(given), np.concatenate(given))
    assert not any(starts(given, upright=False))
    two = found[0].take(np.array([True, True, *[False] * (len(TILTS) - 2)]))
    np.testing.assert_array_equal(two.landmarks, landmarks[:2])
    np.testing.assert_allclose(two.leaning, TILTS[:2], atol=1e-9)
    assert Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 33, 2))).leaning.shape == (0,)


def test_turns_of_exact_landmarks_are_the_tilts():
    turns = find_turns(lambda who, turns: standing(TILTS[who] - turns), np.zeros(len(TILTS)))
    np.testing.assert_allclose((turns - TILTS + 180) % 360 - 180, 0, atol=1e-9)
    assert (np.abs(turns) <= 180).all()


def test_who_is_upright_from_the_start_is_looked_at_once():
    looks = []

    def look(who, turns):
        looks.append(len(who))
        return standing(TILTS[who] - turns)

    turns = find_turns(look, np.array(TILTS) + 3.0)
    assert looks == [len(TILTS)]
    np.testing.assert_allclose(turns, np.array(TILTS) + 3.0)


def test_only_who_leans_is_looked_at_again_and_the_turns_are_those_of_the_last_looks():
    looks: list[dict[int, float]] = []

    def look(who, turns):
        looks.append(dict(zip(who.tolist(), turns.tolist(), strict=True)))
        return standing(0.7 * (TILTS[who] - turns))  # a network that underestimates what it seldom sees

    turns = find_turns(look, np.zeros(len(TILTS)))
    assert [list(seen) for seen in looks] == [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [2, 3, 4, 5]]
    np.testing.assert_allclose(turns[:3], [0, 5.6, -40 * (1 - 0.3**2)], atol=1e-9)
    last = {number: turn for seen in looks for number, turn in seen.items()}
    np.testing.assert_array_equal(turns, [last[number] for number in range(len(TILTS))])


def test_crops_are_turned_by_whole_degrees():
    cut: dict[int, float] = {}

    def crop(number, turn):
        cut[number] = turn
        return np.full((2, 2, 3), number, np.uint8)

    def encode(crops):
        return {"landmarks": standing(np.array([0.8 * (TILTS[n] - cut[n]) for n in crops[:, 0, 0, 0]]))}

    turns, _, _ = look_upright(crop, encode, np.zeros(len(TILTS)))
    assert (turns == np.rint(turns)).all()
    assert turns.tolist() == [cut[number] for number in range(len(TILTS))]


def test_a_prediction_is_turned_back_exactly():
    rng = np.random.default_rng(0)
    degrees = TILTS.astype(np.float32)
    count = len(degrees)
    rotations = Rotation.random(24 * count, random_state=1).as_matrix().reshape(count, 24, 3, 3)
    upright = Prediction(
        global_orient=jnp.asarray(rotations[:, :1]), body_pose=jnp.asarray(rotations[:, 1:]),
        betas=jnp.asarray(rng.normal(size=(count, 10))), camera=jnp.asarray(rng.normal(size=(count, 3))),
        joints=jnp.asarray(rng.normal(size=(count, 24, 3))), keypoints_3d=jnp.asarray(rng.normal(size=(count, 44, 3))),
        keypoints_2d=jnp.asarray(rng.normal(size=(count, 44, 2))),
    )  # fmt: skip
    back = turn_back(upright, jnp.asarray(degrees))
    for i, angle in enumerate(degrees):
        turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
        np.testing.assert_allclose(back.joints[i], upright.joints[i] @ turn.T, atol=1e-5)
        np.testing.assert_allclose(back.keypoints_3d[i], upright.keypoints_3d[i] @ turn.T, atol=1e-5)
        np.testing.assert_allclose(back.global_orient[i, 0], turn @ upright.global_orient[i, 0], atol=1e-5)
        np.testing.assert_allclose(back.camera[i, 1:], turn[:2, :2] @ upright.camera[i, 1:], atol=1e-5)
    for name in ("body_pose", "betas", "keypoints_2d"):
        np.testing.assert_array_equal(getattr(back, name), getattr(upright, name))
    np.testing.assert_array_equal(back.camera[:, 0], upright.camera[:, 0])


@pytest.mark.parametrize("side", [20.0, 90.0, 400.0])
@pytest.mark.parametrize("size", [32, 33])
def test_a_square_that_is_sampled_once_gives_the_crop_of_every_turn(side, size):
    image = np.random.default_rng(4).integers(0, 256, (90, 120, 3), np.uint8)
    square = CropInTurns(image, np.array([70.3, 40.9]), side, size)
    for degrees in (0.0, 11.0, -75.0):
        np.testing.assert_array_equal(square(degrees), extract_crop(image, np.array([70.3, 40.9]), side, size, degrees))
    assert (square(0.0) != square(11.0)).any()


@pytest.mark.parametrize("degrees", [90.0, -90.0, 180.0])
def test_a_crop_turned_by_right_angles_is_the_turned_crop(degrees):
    rng = np.random.default_rng(3)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((120, 120), Image.BICUBIC))
    center, size = np.array([60.0, 55.0]), 64
    plain, turned = extract_crop(image, center, 40.0, size), extract_crop(image, center, 40.0, size, degrees)
    # Pixel S / 2 is the centre: the first row and column have no counterpart.
    wanted = np.rot90(plain[1:, 1:], round(degrees / 90))
    np.testing.assert_allclose(turned[1:, 1:].astype(int), wanted.astype(int), atol=2)


def test_points_of_a_turned_crop_are_where_the_turn_says():
    image = np.zeros((200, 200, 3), np.uint8)
    center, side, size, degrees = np.array([100.0, 90.0]), 100.0, 128, 30.0
    offset = np.array([20.0, -25.0])  # in the turned crop, px of the image
    x, y = center + rotation_z(np.array([degrees]))[0, :2, :2] @ offset
    rows, columns = np.mgrid[:200, :200]
    image[:] = (255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18))[..., None]
    crop = extract_crop(image, center, side, size, degrees)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size]
    found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    np.testing.assert_allclose(found, size / 2 + offset * size / side, atol=0.05)
