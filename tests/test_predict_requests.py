"""`python predict.py`: which results are written, which are kept, and what is said of the camera."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import ExifTags, Image

from hmr_jax.inference.results import parse_kinds


@pytest.fixture
def ask(predict, photos, whole):
    """Predicts the photos into one folder, and returns the files written and the messages."""

    def program(*arguments) -> tuple[list[str], str]:
        code, lines, messages = predict(photos, *whole, *arguments)
        assert code == 0, messages
        return [Path(line).name for line in lines], messages

    return program


def test_images_that_were_done_in_the_same_way_are_kept(ask, photos, tmp_path):
    numbers = {"a.json", "a.npz", "b.json", "b.npz"}
    assert set(ask("--only", "npz,json")[0]) == numbers
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    written, messages = ask("--only", "json,npz")
    assert (set(written), "2 of 2 images were done before" in messages) == (numbers, True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert set(ask("--only", "json,npz", "--again")[0]) == numbers
    assert set(ask("--only", "json,npz", "--camera", "hmr2")[0]) == numbers
    assert set(ask("--only", "json,npz", "--intrinsics", "150,160,45,60")[0]) == numbers
    (tmp_path / "out" / "a.npz").unlink()
    (tmp_path / "out" / "b.npz").write_bytes(b"")
    damaged = tmp_path / "out" / "b.json"
    damaged.write_text(damaged.read_text()[:99])
    assert set(ask("--only", "json,npz", "--intrinsics", "150,160,45,60")[0]) == numbers
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    Image.new("RGB", (90, 120)).save(photos / "a.jpg")
    _, messages = ask("--only", "json,npz", "--intrinsics", "150,160,45,60")
    assert "1 of 2 images were done before" in messages
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"a.json", "a.npz"}


def test_only_what_is_asked_for_is_written(ask, tmp_path, monkeypatch):
    monkeypatch.setattr("hmr_jax.inference.results.three_views", lambda *_, **__: pytest.fail("drawn"))
    assert {name.partition(".")[2] for name in ask("--no-overlay")[0]} == {"json", "npz", "glb"}
    written, messages = ask("--only", "json")
    assert set(written) == {"a.json", "b.json"} == {path.name for path in (tmp_path / "out").iterdir()}
    assert "2 images, 2 people in" in messages
    assert all(stage in messages for stage in ("read", "predict", "write"))


def test_meshes_for_other_programs_and_a_page(ask, tmp_path):
    written = ask("--only", "npz,obj,ply,html,turntable", "--axes", "blender")[0]
    assert {name.partition(".")[2] for name in written} == {"npz", "obj", "ply", "html", "webp"}
    with np.load(tmp_path / "out" / "a.npz") as arrays:
        x, y, z = np.moveaxis(arrays["vertices"][0] + arrays["translation"][0], -1, 0)
    for kind in ("obj", "ply"):
        mesh = trimesh.load_mesh(tmp_path / "out" / f"a.{kind}", process=False)
        np.testing.assert_allclose(mesh.vertices, np.stack([x, z, -y], 1), rtol=1e-5, atol=1e-5)
        assert len(mesh.faces) == 13776
    page = (tmp_path / "out" / "a.html").read_text()
    assert "1 person; focal length 130 px (default); checkpoint tiny." in page
    assert page.count("<iframe") == 1


@pytest.mark.parametrize(
    ("text", "overlay", "words"), [("jsn", True, "'jsn' is no kind"), ("overlay", False, "nothing")]
)
def test_unknown_kinds_of_results_are_refused(text, overlay, words):
    with pytest.raises(ValueError, match=words):
        parse_kinds(text, overlay)


def test_the_cameras_source_is_in_the_file(ask, photos, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    Image.new("RGB", (90, 120)).save(photos / "a.jpg", exif=exif)
    ask("--only", "json")
    cameras = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text())["camera"] for name in "ab"}
    assert (cameras["a"]["source"], cameras["b"]["source"]) == ("exif", "default")
    assert cameras["a"]["focal_length"] == pytest.approx([26 / np.hypot(36, 24) * 150] * 2, rel=1e-4)
    ask("--only", "json", "--camera", "hmr2")
    camera = json.loads((tmp_path / "out" / "a.json").read_text())["camera"]
    assert (camera["source"], camera["relative_uncertainty"]) == ("hmr2", None)
    assert camera["focal_length"] == pytest.approx([5000 / 256 * 120] * 2)
