"""What a new user does in the first hour, in one go, by the commands of the README and of the pages that it names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

pytest.importorskip("av")

import browser
import video_clips as clips
from documented import ROOT
from PIL import Image
from test_prepare import built_in

from hmr_commands import program
from hmr_jax.body import load_body_model

pytestmark = pytest.mark.slow
PHOTO = ROOT / "examples" / "photos" / "photographer.jpg"


def written(lines, suffix):
    """The one file of the lines of stdout whose name ends in a suffix; it is there."""
    (line,) = (line for line in lines if line.endswith(suffix))
    with open(line, "rb") as file:
        return file.read()


def page(predict, photo, *network):
    """The lines of stdout of the command that writes a page in the folder "blender"."""
    options = ("--boxes", "100,60,360,500", "--only", "html,npz,ply", "--axes", "blender", "--output", "blender")
    code, lines, messages = predict(photo, *network, *options)
    assert code == 0, messages
    return lines


def video(predict, *network):
    """The same of a video and the folder "video"."""
    clip = clips.clip(Path("walk.mp4"), 4)
    table = {number: [clips.person_box(number).tolist()] for number in range(4)}
    Path("walk.json").write_text(json.dumps(table))
    options = ("--boxes", "walk.json", "--only", "npz,glb,bvh,overlay,html,track", "--axes", "blender")
    code, lines, messages = predict(clip, *network, *options, "--up", 0, -1, 0, "--output", "video")
    assert code == 0, messages
    return lines


@pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium")
def test_the_pages_of_the_first_hour_open_without_an_error(predict, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ("--checkpoint", tiny_checkpoint)
    files = [
        next(line for line in lines if line.endswith(".html"))
        for lines in (page(predict, PHOTO, *network), video(predict, *network))
    ]
    for number, settings in enumerate(({}, {"width": 360, "height": 740, "mobile": True, "dark": True})):
        with browser.Browser(tmp_path / f"browser_{number}", **settings) as window:
            for file, drawn in zip(
                files, ("document.querySelector('iframe').contentDocument", "document"), strict=True
            ):
                window.open((tmp_path / file).as_uri())
                window.wait(f"{drawn}.documentElement.dataset.ready === '1'")
                assert window.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
                assert window.run("document.documentElement.scrollWidth <= window.innerWidth")
                if drawn == "document":  # all that the video's camera saw
                    values = window.run("[camera.fov, camera.aspect, scene.fov, scene.aspect]")
                    (high, aspect), (seen_high, seen) = np.reshape(values, (2, 2))
                    assert seen == clips.WIDTH / clips.HEIGHT
                    assert high >= seen_high - 1e-6
                    assert aspect * np.tan(np.radians(high / 2)) > 0.999 * seen * np.tan(np.radians(seen_high / 2))
                window.screenshot(tmp_path / f"{number}{(tmp_path / file).stem}.png", whole=False)
            assert window.errors == []


def test_the_first_hour(predict, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = ("--checkpoint", tiny_checkpoint)

    # A folder, and your own boxes
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(PHOTO, photos / name)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps({"one.jpg": [[100, 60, 360, 500]], "two.jpg": [[100, 60, 360, 500], [0, 60, 200, 500]]})
    )
    code, lines, messages = predict("photos", *network, "--boxes", "boxes.json")
    assert code == 0, messages
    assert len(json.loads(written(lines, "two.json"))["people"]) == 2
    with Image.open("predictions/one_overlay.png") as overlay:
        assert overlay.size[0] > 1.5 * 512  # three panels
    assert written(lines, "one.glb")[:4] == b"glTF"

    # A page, and Blender's axes
    lines = page(predict, "photos/one.jpg", *network)
    assert b"<html" in written(lines, "one.html").lower()[:200]
    with np.load("blender/one.npz") as arrays:
        x, y, z = (arrays["vertices"] + arrays["translation"][:, None])[0].T
    mesh = trimesh.load("blender/one.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, np.stack([x, z, -y], 1), atol=1e-4)

    # A video
    lines = video(predict, *network)
    assert written(lines, "walk_person_0.glb")[:4] == b"glTF"
    assert written(lines, "walk_overlay.mp4")[4:8] == b"ftyp"
    assert b"<video" in written(lines, "walk_video.html")
    assert len(json.loads(written(lines, "walk_person_0.json"))["world_trans"]) == 4

    # Your own SMPL file
    own = built_in(tmp_path / "SMPL_FILES", "SMPL_NEUTRAL.npz")
    program.parse(["prepare", str(own), "--out", "bodies"])()
    assert "SMPL_NEUTRAL: bodies" in capsys.readouterr().out
    assert load_body_model("bodies/SMPL_NEUTRAL.npz").topology == "smpl"
