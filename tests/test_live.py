"""Live cameras: the newest frame counts, people keep their numbers, and the page shows them."""

import itertools
import threading
import time

import numpy as np
import pytest

pytest.importorskip("av")

import video_clips as clips

from hmr_commands import program
from hmr_commands.live import moment_of
from hmr_jax.detection import Detections
from hmr_jax.geometry.intrinsics import image_camera
from hmr_jax.video.ahead import newest
from hmr_jax.video.frames import Frame
from hmr_jax.video.live import as_they_come, live_people


def frames(numbers, people=1):
    return [Frame(clips.draw(number, people), number / clips.RATE) for number in numbers]


def test_the_newest_item_is_given_and_those_before_it_are_left_out():
    asked, made = threading.Event(), []

    def items():
        yield 0
        asked.wait(10)
        for number in (1, 2, 3):
            made.append(number)
            yield number
        while True:
            time.sleep(0.01)
            yield 4

    stream = newest(items())
    assert next(stream) == 0
    asked.set()
    while len(made) < 3:
        time.sleep(0.01)
    assert next(stream) in (3, 4)
    stream.close()


def test_what_ends_or_fails_ends_or_fails_where_it_is_used():
    assert list(newest(iter(()))) == []

    def failing():
        yield 1
        raise ValueError("no more")

    stream = newest(failing())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no more"):
        next(stream)


def test_a_file_that_stands_for_a_camera_takes_its_time():
    start = time.monotonic()
    assert len(list(as_they_come(frames(range(7))))) == 7
    assert time.monotonic() - start >= 6 / clips.RATE


class Watched(clips.FakePredictor):
    """Remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.known = []

    def detect(self, images, known=None):
        self.known.append(known)
        return super().detect(images, known)


def test_people_keep_their_numbers_until_they_are_gone():
    predictor = Watched()
    shown = [*frames(range(4), 2), *frames(range(4, 6), 1), *frames(range(6, 12), 2)]
    found = [people for _, people in live_people(predictor, shown)]
    assert [sorted(people) for people in found[:6]] == [[0, 1]] * 4 + [[0]] * 2
    left = [[people[number].box[0] for people in found[:4]] for number in (0, 1)]
    assert (np.diff(left[0]) > 0).all()
    assert (np.diff(left[1]) < 0).all()
    assert sorted(found[6]) == [0, 2]
    assert [known is None for known in predictor.known] == [number % 10 == 0 for number in range(12)]
    assert isinstance(predictor.known[1], Detections)
    assert len(predictor.known[5].boxes) == 1


def test_nobody_is_no_error():
    empty = [Frame(np.full((20, 30, 3), 90, np.uint8), 0.0)] * 2
    assert [people for _, people in live_people(clips.FakePredictor(), empty)] == [{}, {}]


def test_bodies_are_placed_in_the_camera():
    (frame, people), *_ = live_people(clips.FakePredictor(), frames([3]))
    moment = moment_of(np.repeat(np.repeat(frame.image, 10, 0), 10, 1), people, image_camera((1600, 1200), None))
    np.testing.assert_allclose(moment.bodies[0], people[0].vertices + people[0].translation)
    assert moment.aspect == pytest.approx(4 / 3)
    assert moment.image.shape == (600, 800, 3)
    assert np.degrees(2 * np.arctan(np.tan(moment.fov / 2) * 2000 / 1200)) == pytest.approx(60, abs=1e-3)


def test_the_command_shows_people_until_the_camera_ends(tmp_path, tiny_checkpoint, monkeypatch):
    viser = pytest.importorskip("viser")
    shown = []
    add = viser.SceneApi.add_camera_frustum
    monkeypatch.setattr(viser.SceneApi, "add_camera_frustum", lambda *a, **k: shown.append(k["image"]) or add(*a, **k))
    clip = clips.clip(tmp_path / "walk.mp4", 24)
    options = ["--checkpoint", str(tiny_checkpoint), "--port", "8123", "--intrinsics", "200,200,80,60"]
    program.main(["live", f"webcam:{clip}", *options])
    assert shown
    assert all(image.shape == (clips.HEIGHT, clips.WIDTH, 3) for image in shown)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["webcam:none.mp4"], "There is no camera none.mp4"),
        (["webcam:empty.mp4"], "The camera empty.mp4 (empty.mp4) cannot be read"),
        (["webcam:walk.mp4", "--intrinsics", "1,2"], "give four numbers, fx,fy,cx,cy"),
        (["webcam:walk.mp4", "--intrinsics", "200,200,80,60,1"], "give four numbers, fx,fy,cx,cy"),
        (["webcam:walk.mp4", "--checkpoint", "none"], "none"),
        (["webcam:walk.mp4", "--detector", "none.onnx"], "none.onnx"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(options, words, tmp_path, monkeypatch, capsys):
    pytest.importorskip("viser")
    monkeypatch.chdir(tmp_path)
    clips.clip(tmp_path / "walk.mp4", 3)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SystemExit):
        program.main(["live", *options])
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert error.count("error:") == 1


def test_threads_of_streams_that_are_left_end():
    before = threading.active_count()
    stream = newest(itertools.count())
    next(stream)
    stream.close()
    assert threading.active_count() == before
