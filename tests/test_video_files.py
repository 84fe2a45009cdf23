"""What other programs read of a video: data frames, pickles, USD, a page, and only what was asked for."""

import json
import pickle
import re

import browser
import numpy as np
import pytest

pytest.importorskip("av")

import video_clips as clips
from PIL import Image

from hmr_jax.video import predict_video
from hmr_jax.video.files import fit_weak_perspective, write_page
from hmr_jax.video.posing import Posing

FRAMES = 12
EVERY = ("pkl", "usd", "html", "overlay", "npz")


@pytest.fixture(scope="module")
def predictor():
    return clips.FakePredictor()


@pytest.fixture(scope="module")
def made(predictor, tmp_path_factory):
    """A result of two people, its folder, and the kinds of files that are in it."""
    pytest.importorskip("pxr")
    folder = tmp_path_factory.mktemp("video")
    path = clips.clip(folder / "walk.mp4", FRAMES, people=2)
    return predict_video(predictor, path, folder / "out", kinds=EVERY), folder / "out"


def test_what_is_asked_for_is_written_and_nothing_else(made, predictor):
    result, out = made
    people = [f"walk_person_{number}.{suffix}" for number in (0, 1) for suffix in ("npz", "usdc")]
    names = sorted([*people, "walk_overlay.mp4", "walk_people.pkl", "walk_video.html", "walk_video.json"])
    assert sorted(file.name for file in result.files) == names == sorted(file.name for file in out.iterdir())
    other = out.parent / "other"
    for kinds, wanted in ((("glb", "html"), ["person_0.glb", "video.html", "video.json"]), ((), ["video.json"])):
        predict_video(predictor, clips.clip(out.parent / "a.mp4", 4), other, kinds=kinds)
        assert sorted(file.name for file in other.iterdir()) == [f"a_{name}" for name in wanted]
    with pytest.raises(ValueError, match="'obj' is no kind of result"):
        predict_video(predictor, out.parent / "a.mp4", other, kinds=["obj"])


def test_a_data_frame_has_a_row_for_each_person_and_frame(made):
    pandas = pytest.importorskip("pandas")
    result, _ = made
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [(person, number) for person in (0, 1) for number in range(FRAMES)]
    for person in result.people:
        own, motion = frame.loc[person.number], person.motion
        np.testing.assert_allclose(own["time"], motion.times)
        joints = motion.joints + motion.translation[:, None]
        np.testing.assert_allclose(own[["left_knee_x", "left_knee_y", "left_knee_z"]], joints[:, 4], rtol=1e-6)
        np.testing.assert_allclose(own[["x", "y", "z"]], joints[:, 0], rtol=1e-6)
        np.testing.assert_allclose(own[["right_wrist_rx", "right_wrist_ry"]], motion.rotations[:, 21, :2], rtol=1e-6)
        np.testing.assert_allclose(own[["left", "bottom"]], motion.boxes[:, [0, 3]], rtol=1e-6)


def test_a_dictionary_has_what_the_files_have(made):
    result, out = made
    found = result.to_dict()
    assert json.loads(json.dumps(found)) == found
    summary = json.loads((out / "walk_video.json").read_text())
    assert {key: found[key] for key in ("schema", "video", "camera", "shots")} == {
        key: summary[key] for key in ("schema", "video", "camera", "shots")
    }
    with np.load(out / "walk_person_1.npz") as arrays:
        for name in ("poses", "trans", "keypoints_image", "interpolated"):
            np.testing.assert_allclose(found["people"][1][name], arrays[name], rtol=2e-5, atol=1e-6)


def test_a_pickle_has_vibes_names_and_cameras(made, predictor):
    result, out = made
    found = pickle.loads((out / "walk_people.pkl").read_bytes())
    assert list(found) == [0, 1]
    size = np.array([result.info.width, result.info.height])
    for person in result.people:
        own, motion = found[person.number], person.motion
        shapes = {name: array.shape for name, array in own.items()}
        assert shapes == {
            "pred_cam": (FRAMES, 3), "orig_cam": (FRAMES, 4), "verts": (FRAMES, 6890, 3), "pose": (FRAMES, 72),
            "betas": (FRAMES, 10), "joints3d": (FRAMES, 49, 3), "joints2d": (FRAMES, 44, 2), "bboxes": (FRAMES, 4),
            "frame_ids": (FRAMES,),
        }  # fmt: skip
        vertices = Posing(predictor.body).vertices(motion.betas[3], motion.rotations[3])
        np.testing.assert_allclose(own["verts"][3], vertices, atol=1e-6)
        weak = own["orig_cam"][:, None, :2] * (motion.keypoints_3d[..., :2] + own["orig_cam"][:, None, 2:])
        pixels = (weak + 1) * size / 2
        np.testing.assert_allclose(pixels.mean(1), motion.keypoints_image.mean(1), atol=1e-3)
        in_box = own["pred_cam"][:, None, :1] * (motion.keypoints_3d[..., :2] + own["pred_cam"][:, None, 1:])
        again = own["bboxes"][:, None, :2] + in_box * own["bboxes"][:, None, 2:] / 2
        np.testing.assert_allclose(again, pixels, atol=1e-2)


def test_weak_perspective_cameras_are_found():
    rng = np.random.default_rng(0)
    points, pixels, place = rng.normal(0, 0.4, (5, 44, 3)), rng.uniform(50, 400, 5), rng.uniform(0, 500, (5, 2))
    seen, size = pixels[:, None, None] * points[..., :2] + place[:, None], np.array([640, 480])
    scales, shift = fit_weak_perspective(points, seen, size)
    np.testing.assert_allclose(scales * size / 2, np.repeat(pixels[:, None], 2, 1))
    np.testing.assert_allclose((scales[:, None] * (points[..., :2] + shift[:, None]) + 1) * size / 2, seen)


def test_the_page_holds_everything(made):
    result, out = made
    page = (out / "walk_video.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert page.count('"glb": ') == 2
    assert 'src="data:video/mp4;base64,' in page
    assert f'"duration": {result.times[-1]}' in page


def test_missing_people_are_no_error(predictor, tmp_path):
    path = clips.write(tmp_path / "empty.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 4)
    with pytest.warns(UserWarning, match="No people"):
        result = predict_video(predictor, path, tmp_path / "out", kinds=("pkl", "html", "usd"))
    assert not len(result.to_pandas())
    assert result.to_dict()["people"] == []
    assert pickle.loads((tmp_path / "out" / "empty_people.pkl").read_bytes()) == {}


@pytest.mark.slow
@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium")
def test_the_page_plays_in_a_browser(made, tmp_path):
    pytest.importorskip("websockets")
    time = "Number(document.getElementById('time').value)"
    with browser.Browser(tmp_path / "browser") as page:
        page.open((made[1] / "walk_video.html").as_uri())
        page.wait("document.documentElement.dataset.ready === '2'")
        page.run("document.getElementById('canvas').focus()")
        page.screenshot(tmp_path / "first.png")
        page.key(".", times=5)  # frames on
        assert page.run(time) == pytest.approx(5 / 24, abs=0.01)
        page.key(",")
        assert page.run(time) == pytest.approx(4 / 24, abs=0.01)
        page.key("ArrowLeft", times=5)  # turns
        page.screenshot(tmp_path / "turned.png")
        first, turned = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("first", "turned"))
        assert (first[:700, 700:] != turned[:700, 700:]).any()
        page.key("Tab")
        assert page.run("document.activeElement.id") == "play"
        page.key("Enter")
        page.wait(f"{time} > 0.4 && document.getElementById('play').textContent === 'Play'")  # to its end
        assert page.errors == []


@pytest.mark.slow
@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium")
def test_bodies_play_where_the_browser_cannot_play_the_video(made, tmp_path):
    pytest.importorskip("websockets")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    write_page(tmp_path / "a.html", made[0], tmp_path / "a.mp4")
    with browser.Browser(tmp_path / "browser") as page:
        page.open((tmp_path / "a.html").as_uri())
        page.wait("document.documentElement.dataset.ready === '2' && document.getElementById('video').error !== null")
        page.run("document.getElementById('play').click()")
        page.wait("Number(document.getElementById('time').value) > 0.4", 20)
        page.wait("document.getElementById('play').textContent === 'Play'", 20)
