"""Recordings for Rerun: read again by Rerun itself where it is installed, and a sentence where it is not."""

import subprocess
import sys

import numpy as np
import pytest

from hmr_jax.rendering.rerun_files import Body, View, write_rerun

VIEW = View(np.array([200.0, 200]), np.array([80.0, 60]), (160, 120))
FACES = np.array([[0, 1, 2], [0, 2, 3]])
SQUARE = np.array([[0.0, 0, 3], [1, 0, 3], [1, 1, 3], [0, 1, 3]])


def moments():
    """Ten moments; a person leaves after the seventh and is back in the tenth."""
    for number in range(10):
        body = Body(0, SQUARE + np.array([number / 10, 0, 0]), np.full((44, 2), 50.0), np.array([10.0, 10, 60, 90]))
        yield number / 10, np.full((120, 160, 3), 90, np.uint8), [] if number in (7, 8) else [body]


def test_a_recording_has_bodies_and_images_over_time(tmp_path):
    pytest.importorskip("rerun")
    write_rerun(tmp_path / "a.rrd", "a", VIEW, FACES, moments())
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(tmp_path / "a.rrd")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for part in (
        "/world/person_0 - data columns: [Mesh3D:vertex_positions]", "Mesh3D:triangle_indices", "Image:", "Pinhole:",
        "/world/camera/person_0/keypoints", "Boxes2D:", "Clear:",
    ):  # fmt: skip
        assert part in printed or part.replace("Image:", "EncodedImage:") in printed, part
    assert [path.name for path in tmp_path.iterdir()] == ["a.rrd"]


def test_without_rerun_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ImportError, match="need rerun-sdk: pip install rerun-sdk, or leave rrd out"):
        write_rerun(tmp_path / "a.rrd", "a", VIEW, FACES, moments())
    assert not list(tmp_path.iterdir())


def test_videos_refuse_it_before_they_begin(monkeypatch):
    from hmr_jax.video.files import check_video_kinds

    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ImportError, match="rerun-sdk"):
        check_video_kinds(["rrd"], "opengl")
