"""What a new user does in the first hour, in one go, by the commands of the README and of the pages that it names."""

import json
import shutil

import numpy as np
import pytest
import trimesh

pytest.importorskip("av")

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
    options = ("--boxes", "100,60,360,500", "--only", "html,npz,ply", "--axes", "blender", "--output", "blender")
    code, lines, _ = predict("photos/one.jpg", *network, *options)
    assert code == 0
    assert b"<html" in written(lines, "one.html").lower()[:200]
    with np.load("blender/one.npz") as arrays:
        x, y, z = (arrays["vertices"] + arrays["translation"][:, None])[0].T
    mesh = trimesh.load("blender/one.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, np.stack([x, z, -y], 1), atol=1e-4)

    # A video
    clip = clips.clip(tmp_path / "walk.mp4", 4)
    table = {number: [clips.person_box(number).tolist()] for number in range(4)}
    (tmp_path / "walk.json").write_text(json.dumps(table))
    options = ("--boxes", "walk.json", "--only", "npz,glb,bvh,overlay,html,track", "--axes", "blender")
    code, lines, messages = predict(clip, *network, *options, "--up", 0, -1, 0, "--output", "video")
    assert code == 0, messages
    assert written(lines, "walk_person_0.glb")[:4] == b"glTF"
    assert written(lines, "walk_overlay.mp4")[4:8] == b"ftyp"
    assert b"<video" in written(lines, "walk_video.html")
    assert len(json.loads(written(lines, "walk_person_0.json"))["world_trans"]) == 4

    # Your own SMPL file
    own = built_in(tmp_path / "SMPL_FILES", "SMPL_NEUTRAL.npz")
    program.parse(["prepare", str(own), "--out", "bodies"])()
    assert "SMPL_NEUTRAL: bodies" in capsys.readouterr().out
    assert load_body_model("bodies/SMPL_NEUTRAL.npz").topology == "smpl"
