"""Landmarks of a person who is followed through a video."""

from types import SimpleNamespace

import numpy as np
import pytest

from hmr_jax.geometry.crops import extract_crop
from hmr_jax.video.capture import landmarks as module
from hmr_jax.video.capture.landmarks import Square, first_person, follow, track


@pytest.mark.parametrize("turn", [0.0, 30.0, -100.0])
def test_points_of_a_crop_are_where_the_image_has_them(turn):
    image = np.zeros((300, 400, 3), np.uint8)
    image[120:123, 210:213] = 255  # centre (211, 121)
    square = Square(np.array([200.0, 150.0]), 128.0, turn)
    crop = extract_crop(image, square.center, square.side, 256, turn).astype(float).mean(2)
    rows, columns = np.indices(crop.shape)
    middle = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(square.to_image(middle + 0.5), [211, 121], atol=0.1)


def test_mirrored_landmarks_change_sides():
    mirrored = module._MIRRORED
    assert (mirrored[mirrored] == np.arange(33)).all()
    assert mirrored[0] == 0
    for left, right in ((1, 4), (7, 8), (11, 12), (15, 16), (23, 24), (31, 32)):
        assert mirrored[left] == right


def body_at(center: np.ndarray, degrees: float = 0.0) -> np.ndarray:
    """(33, 3) landmarks of a stick figure that leans clockwise."""
    points = np.tile([0.0, -100], (33, 1))
    points[[11, 12]] = [[20, -60], [-20, -60]]
    points[[23, 24]] = [[15, 0], [-15, 0]]
    points[[27, 28]] = [[15, 100], [-15, 100]]
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([points @ turn.T + center, np.full((33, 1), 0.9)], 1)


def test_the_square_follows_and_turns_with_the_trunk():
    square = follow(body_at(np.array([300.0, 200.0]), 35), Square(np.array([0.0, 0]), 270.0))
    assert square.turn == pytest.approx(35)
    np.testing.assert_allclose(square.center, [300, 200], atol=1e-6)
    assert square.side == pytest.approx(270)  # 1.35 times 200


def look_along(centers: np.ndarray, looks: list[Square], absent: tuple[int, ...] = ()):
    def look(frame, square):
        looks.append(square)
        return body_at(centers[frame], 5 * frame), 0.1 if frame in absent else 1.0

    return look


def test_a_person_is_tracked_through_a_video_and_not_lost_at_a_bad_frame():
    centers = np.array([[100 + 10.0 * frame, 200] for frame in range(6)])
    looks: list[Square] = []
    found = np.stack(list(track(look_along(centers, looks, (3,)), lambda _: np.array([60.0, 100, 140, 300]), range(6))))
    assert found.shape == (6, 33, 3)
    np.testing.assert_allclose(found[:, 11, :2], [body_at(c, 5 * n)[11, :2] for n, c in enumerate(centers)])
    np.testing.assert_allclose(found[:, 11, 2], [0.9, 0.9, 0.9, 0.09, 0.9, 0.9])
    np.testing.assert_allclose(looks[0].center, [100, 200])
    np.testing.assert_allclose(looks[-2].center, centers[2], atol=1e-6)  # frame 3 moved nothing
    np.testing.assert_allclose(looks[-1].center, centers[4], atol=1e-6)


def test_somebody_who_comes_later_or_comes_back_is_found():
    centers = np.full((60, 2), 150.0)
    boxes = {0: None, 1: None, 2: np.array([60.0, 100, 140, 300])}
    asked: list[int] = []

    def find(frame):
        asked.append(frame)
        return boxes.get(frame, boxes[2])

    absent = tuple(range(20, 45))
    found = np.stack(list(track(look_along(centers, [], absent), find, range(60))))
    assert (found[:2] == 0).all()
    assert found[2, 11, 2] == 0.9
    assert asked[:3] == [0, 1, 2]
    assert 20 + 15 <= asked[3] <= 20 + 17  # after fifteen looks in vain
    assert (found[-10:, 11, 2] == 0.9).all()


def test_the_first_person_of_a_detector_is_taken():
    boxes = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    assert first_person(lambda image: SimpleNamespace(boxes=boxes))(None).tolist() == [1, 2, 3, 4]
    assert first_person(lambda image: SimpleNamespace(boxes=boxes[:0]))(None) is None
