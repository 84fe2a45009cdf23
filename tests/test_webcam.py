"""Cameras at the computer are recorded, and the recording is predicted; a video stands for the camera."""

import json
import os
import shutil
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("av")

import video_clips as clips

from hmr_jax.video import webcam
from hmr_jax.video.frames import read_frames
from hmr_jax.video.webcam import record


@pytest.fixture
def clip(tmp_path):
    return clips.clip(tmp_path / "walk.mp4", 12)


def test_a_recording_shows_what_the_camera_shows(clip, tmp_path, capsys):
    path = record(f"webcam:{clip}", tmp_path / "out")
    assert path == tmp_path / "out" / "webcam_walk.mp4"
    assert "until Ctrl+C" in capsys.readouterr().err
    seen, wanted = list(read_frames(path)), list(read_frames(clip))
    np.testing.assert_allclose([one.time for one in seen], [one.time for one in wanted], atol=1e-4)
    for one, other in zip(seen, wanted, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_as_it_comes(tmp_path):
    source, pipe = clips.clip(tmp_path / "walk.ts", 12), tmp_path / "camera"
    os.mkfifo(pipe)

    def play() -> None:
        with source.open("rb") as data, pipe.open("wb") as target:
            shutil.copyfileobj(data, target)

    thread = threading.Thread(target=play)
    thread.start()
    path = record(f"webcam:{pipe}", tmp_path)
    thread.join()
    assert len(list(read_frames(path))) == 12


def test_the_recording_ends_after_the_seconds_asked_for(clip, tmp_path):
    times = [frame.time for frame in read_frames(record(f"webcam:{clip}", tmp_path / "out", 0.25))]
    assert len(times) == 7
    assert max(times) <= 0.25
    with pytest.raises(ValueError, match="-1 seconds cannot be recorded"):
        record(f"webcam:{clip}", tmp_path / "out", -1)


def test_an_interruption_ends_the_recording_and_keeps_it(clip, tmp_path, monkeypatch):
    def interrupted(*arguments):
        yield from list(frames(*arguments))[:5]
        raise KeyboardInterrupt

    frames = webcam.frames_of
    monkeypatch.setattr(webcam, "frames_of", interrupted)
    assert len(list(read_frames(record(f"webcam:{clip}", tmp_path / "out")))) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="devices are those of Linux")
@pytest.mark.parametrize(("device", "message"), [
    ("971", r"There is no camera 971 \(/dev/video971\)"), ("/dev/null", "The camera /dev/null .* cannot be read"),
    ("nothing", "There is no camera nothing"),
])  # fmt: skip
def test_a_camera_that_is_none_is_named(tmp_path, device, message):
    with pytest.raises(ValueError, match=message):
        record(f"webcam:{device}", tmp_path)
    assert not list(tmp_path.iterdir())


def test_predict_records_and_predicts(predict, clip, tiny_checkpoint, tmp_path):
    boxes, out = tmp_path / "boxes.json", tmp_path / "out"
    boxes.write_text(json.dumps({number: [clips.person_box(number).tolist()] for number in (0, 4)}))
    options = ("--boxes", boxes, "--checkpoint", tiny_checkpoint, "--seconds", "0.2", "--output", out, "--only", "npz")
    code, lines, messages = predict(f"webcam:{clip}", *options)
    assert code == 0, messages
    names = ["webcam_walk.mp4", "webcam_walk_person_0.npz", "webcam_walk_video.json"]
    assert [line.rpartition("/")[2] for line in lines] == names
    assert json.loads((out / names[2]).read_text())["video"]["frames"] == 5
    code, lines, messages = predict("webcam:971", "--checkpoint", tiny_checkpoint, "--output", out)
    assert (code, lines) == (2, [])
    assert "971" in messages
