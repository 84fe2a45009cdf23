"""predict.py takes videos: the command ends in the files of `predict_video`, or in one sentence."""

import json

import numpy as np
import pytest

pytest.importorskip("av")

import video_clips as clips
from PIL import Image

from hmr_jax.export import export_network, load_network

pytestmark = pytest.mark.slow


@pytest.fixture
def clip(tmp_path):
    return clips.clip(tmp_path / "walk.mp4", 3)


def boxes_of(path, frames):
    path.write_text(
        json.dumps({frame: np.reshape(clips.person_box(frame), (1, 4)).tolist() for frame in range(frames)})
    )
    return path


@pytest.mark.parametrize("axes", ["opengl", "opencv"])
def test_a_video_becomes_motions_and_an_overlay(predict, clip, tiny_checkpoint, tmp_path, axes):
    boxes = boxes_of(tmp_path / "boxes.json", 3)
    options = ("--boxes", boxes, "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out", "--axes", axes)
    code, lines, messages = predict(clip, *options, "--intrinsics", "300,300,160,120")
    assert code == 0, messages
    names = {
        "walk_person_0.npz", "walk_person_0.glb", "walk_person_0.bvh", "walk_overlay.mp4", "walk_video.json",
    }  # fmt: skip
    assert {line.rpartition("/")[2] for line in lines} == names
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    summary = json.loads((tmp_path / "out" / "walk_video.json").read_text())
    assert summary["camera"]["focal_length"] == [300, 300]


@pytest.mark.parametrize("more", [("--again",), ("--depth", "maps"), ("a.jpg",)], ids=lambda more: more[0])
def test_what_does_not_go_with_videos_is_refused(predict, clip, tiny_checkpoint, tmp_path, more):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg")
    more = [tmp_path / part if part == "a.jpg" else part for part in more]
    code, _, messages = predict(clip, *more, "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert (code, messages.count("\n")) == (2, 1)
    assert "Videos are predicted by themselves" in messages
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_video_is_named(predict, tiny_checkpoint, tmp_path):
    (tmp_path / "a.mp4").write_text("hello")
    code, _, messages = predict(tmp_path / "a.mp4", "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert code == 2
    assert "a.mp4" in messages
    assert messages.count("\n") == 1


def test_videos_of_one_name_have_results_of_their_own(predict, clip, tiny_checkpoint, tmp_path):
    other = tmp_path / "other" / "walk.mp4"
    other.parent.mkdir()
    other.write_bytes(clip.read_bytes())
    options = ("--boxes", boxes_of(tmp_path / "boxes.json", 3), "--checkpoint", tiny_checkpoint, "--no-overlay")
    code, lines, messages = predict(clip, other, *options, "--output", tmp_path / "out")
    assert code == 0, messages
    assert len(set(lines)) == 8
    assert {line.rpartition("/")[2] for line in lines if line.endswith("json")} == {
        "walk_video.json", "walk_2_video.json",
    }  # fmt: skip


def test_a_video_is_not_overwritten_by_the_overlay_of_another(predict, clip, tiny_checkpoint, tmp_path):
    other = clip.with_name("walk_overlay.mp4")
    other.write_bytes(clip.read_bytes())
    code, _, messages = predict(clip, other, "--checkpoint", tiny_checkpoint, "--output", tmp_path)
    assert code == 2
    assert "walk_overlay.mp4 would be overwritten by the overlay of" in messages
    assert other.read_bytes() == clip.read_bytes()


def test_an_exported_network_predicts_the_same(predict, clip, tiny_checkpoint, tmp_path):
    file = tmp_path / "tiny.stablehlo"
    export_network(load_network(tiny_checkpoint), "stablehlo", file)
    found = []
    for number, checkpoint in enumerate((tiny_checkpoint, file)):
        out = tmp_path / str(number)
        options = ("--boxes", boxes_of(tmp_path / "boxes.json", 3), "--only", "npz", "--output", out)
        assert predict(clip, *options, "--checkpoint", checkpoint)[0] == 0
        found.append(dict(np.load(out / "walk_person_0.npz")))
    for name in ("poses", "betas", "trans", "keypoints_image"):
        np.testing.assert_allclose(found[1][name], found[0][name], atol=1e-4, rtol=1e-4)
