"""`hmr view`: scenes of results, served by viser where it is installed, and seen by Chromium where there is one."""

import sys

import numpy as np
import pytest
from PIL import Image

from hmr_commands import program
from hmr_commands.view import read_scene
from hmr_jax.body import load_body_model
from hmr_jax.inference import Predictor
from hmr_jax.inference.files import predict_files
from hmr_jax.rendering.live_scene import serve_scene
from hmr_jax.video.posing import Posing


@pytest.fixture
def results(tiny_checkpoint, photos, tmp_path):
    """npz files of a.jpg with two people and b.png with nobody."""
    boxes = [np.array([[5, 5, 60, 90], [20, 5, 80, 90]]), np.zeros((0, 4))]
    predictor = Predictor.from_checkpoint(tiny_checkpoint)
    return list(predict_files(predictor, sorted(photos.iterdir()), tmp_path / "out", boxes, kinds=("npz",)))


def test_images_are_moments_with_placed_bodies(results, photos):
    faces, at, names = read_scene(tuple(results), photos)
    assert names == ["a.jpg", "b.png"]
    with np.load(results[0]) as arrays:
        np.testing.assert_array_equal(faces, arrays["faces"])
        np.testing.assert_allclose(at(0).bodies[1], arrays["vertices"][1] + arrays["translation"][1])
    assert (len(at(0).bodies), len(at(1).bodies)) == (2, 0)
    np.testing.assert_array_equal(at(1).image, np.asarray(Image.open(photos / "b.png").convert("RGB")))
    assert at(0).aspect == 90 / 120
    assert np.degrees(2 * np.arctan(np.tan(at(0).fov / 2) * 150 / 120)) == pytest.approx(60, abs=1e-3)  # the diagonal
    assert read_scene(tuple(results))[1](0).image is None


def motion(path, frames, topology="hmr-default"):
    rng = np.random.default_rng(0)
    count = len(frames)
    np.savez(
        path, poses=rng.normal(0, 0.2, (count, 72)), betas=rng.normal(0, 1, 10), trans=rng.normal(0, 1, (count, 3)),
        frames=np.array(frames), times=np.array(frames) / 30, topology=topology, focal_length=np.array([500.0, 500]),
        principal_point=np.array([320.0, 240]),
    )  # fmt: skip
    return path


def test_frames_of_a_video_have_the_people_who_are_there(tmp_path):
    files = motion(tmp_path / "a.npz", range(4)), motion(tmp_path / "b.npz", [2, 3, 4])
    faces, at, names = read_scene(files)
    assert names[4] == "frame 4, 0.13 s"
    assert [sorted(at(i).bodies) for i in range(5)] == [[0], [0], [0, 1], [0, 1], [1]]
    body = load_body_model()
    np.testing.assert_array_equal(faces, body.faces)
    with np.load(files[1]) as one:
        expected = Posing(body).vertices(one["betas"], one["poses"][1].reshape(24, 3)) + one["trans"][1]
    np.testing.assert_allclose(at(3).bodies[1], expected, atol=1e-6)
    assert at(0).aspect == 640 / 480


def test_what_cannot_be_viewed_is_one_sentence(results, tmp_path):
    other = motion(tmp_path / "c.npz", [0], "smpl")
    np.savez(tmp_path / "d.npz", x=np.zeros(3))
    (tmp_path / "e.npz").write_text("no zip")
    for files, error, words in (
        ((), ValueError, "Name npz files"),
        ((tmp_path / "none.npz",), FileNotFoundError, "There is no result"),
        ((tmp_path / "d.npz",), ValueError, "no result of predict.py"),
        ((tmp_path / "e.npz",), ValueError, "no npz file of predict.py"),
        ((other,), ValueError, "add --body"),
        ((results[0], other), ValueError, "one after the other"),
    ):
        with pytest.raises(error, match=words):
            read_scene(files)


def test_without_viser_a_sentence_says_what_to_do(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match=r"pip install 'hmr_jax\[viewer\]'"):
        program.parse(["view", str(results[0])])()


@pytest.mark.filterwarnings("ignore")  # of viser and its server
def test_the_browser_shows_another_moment_when_the_slider_moves(results, photos, tmp_path):
    pytest.importorskip("viser")
    browser = pytest.importorskip("browser")
    if browser.PROGRAM is None:
        pytest.skip("there is no Chromium")
    server = serve_scene(*read_scene(tuple(results), photos), port=8311)
    try:
        with browser.Browser(tmp_path) as page:
            page.open(f"http://127.0.0.1:{server.get_port()}")
            page.wait("document.body.innerText.includes('a.jpg') && !!document.querySelector('canvas')")
            page.wait("!!document.querySelector('[role=slider]')")
            page.run("document.querySelector('[role=slider]').focus()")
            page.key("ArrowRight")
            page.wait("document.body.innerText.includes('b.png')")
            assert page.errors == []
    finally:
        server.stop()
