"""`python predict.py`: files in, files out, and errors of one sentence."""

import io
import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import ExifTags, Image
from test_inference import random_parameters
from tiny import config

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.checkpoints import export
from hmr_jax.depth.providers import DiskDepth
from hmr_jax.inference import predictor as inference
from hmr_jax.inference.files import predict_files, result_names
from hmr_jax.inference.given import read_boxes
from hmr_jax.inference.results import parse_kinds

PROGRAM = Path(__file__).parents[1] / "predict.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    export(folder, config("unused"), random_parameters(config("unused")))
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder with two images of noise, 90x120 and 200x100 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a.jpg", (120, 90, 3)), ("b.png", (100, 200, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the program; returns its exit code, its lines on stdout, and stderr."""

    def program(*arguments):
        monkeypatch.setenv("HMR_JAX_CACHE", "")
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        code = 0
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            try:
                runpy.run_path(str(PROGRAM), run_name="__main__")
            except SystemExit as end:
                code = end.code
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return program


def test_a_folder_of_images_becomes_a_folder_of_results(run, photos, checkpoint, tmp_path):
    output = tmp_path / "out"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [[10, 10, 80, 110], [0, 0, 50, 60]], "b.png": []}))
    (photos / "notes.txt").write_text("not an image")
    code, lines, _ = run(photos, "--boxes", boxes, "--checkpoint", checkpoint, "--output", output)
    assert code == 0
    names = {
        "a.json", "a.npz", "a.glb", "a_overlay.png", "a_sampling_0.png", "a_sampling_1.png",
        "b.json", "b.npz", "b_overlay.png",
    }  # fmt: skip
    assert {path.name for path in output.iterdir()} == names
    assert {Path(line).name for line in lines} == names

    document = json.loads((output / "a.json").read_text())
    assert document["topology"] == "hmr-default"
    assert document["checkpoint"] == {"name": "tiny", "step": None}
    assert document["image"] == {"file": "a.jpg", "width": 90, "height": 120}
    assert document["camera"]["source"] == "default"
    assert document["joint_names"] == list(SMPL_24)
    assert document["keypoint_names"] == list(KEYPOINTS_44)
    assert [person["box"] for person in document["people"]] == [[10, 10, 80, 110], [0, 0, 50, 60]]
    assert np.shape(document["people"][0]["pose_axis_angle"]) == (24, 3)
    with np.load(output / "a.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["header"]))["axes"] == "opencv"
        placed = arrays["vertices"] + arrays["translation"][:, None]
        scene = trimesh.load_scene(output / "a.glb")
        upright = placed.reshape(-1, 3) * np.array([1, -1, -1])
        np.testing.assert_allclose(scene.bounds, [upright.min(0), upright.max(0)], rtol=1e-5)
    assert json.loads((output / "b.json").read_text())["people"] == []


def test_a_damaged_image_does_not_stop_the_others(run, photos, checkpoint, tmp_path):
    output = tmp_path / "out"
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    code, _, messages = run(photos, "--checkpoint", checkpoint, "--output", output, "--intrinsics", "150,160,45,60")
    assert code == 2
    assert "b.png cannot be decoded" in messages
    assert "warning: No people were found in a.jpg." in messages
    assert json.loads((output / "a.json").read_text())["people"] == []
    assert not [path for path in output.iterdir() if not path.name.startswith("a")]
    camera = json.loads((output / "a.json").read_text())["camera"]
    assert camera == {
        "focal_length": [150, 160],
        "principal_point": [45, 60],
        "source": "given",
        "relative_uncertainty": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name an image"),
        (["missing.jpg"], "There is no image or folder missing.jpg"),
        (["{photos}/a.jpg", "--checkpoint", "nowhere"], "no checkpoint"),
        (["{photos}/a.jpg", "--boxes", "1,2,3"], "x0,y0,x1,y1"),
        (["{photos}/a.jpg", "--boxes", "1,2,3,x"], "'x' in '1,2,3,x' is not a number"),
        (["{photos}/a.jpg", "--boxes", "none.json"], "no box file none.json"),
        (["{photos}/a.jpg", "--detector", "yolo"], "'yolo' is no detector: give builtin, or the path of an ONNX file"),
        (["{photos}/a.jpg", "--detector", "none.onnx"], "no ONNX file none.onnx"),
        (["{photos}/a.jpg", "--intrinsics", "a,b"], "'a' in 'a,b' is not a number"),
        (["{photos}/..", "--boxes", "1,2,3,4"], "holds no images"),
    ],
)
def test_mistakes_are_told_in_one_line(run, photos, arguments, message):
    code, lines, messages = run(*(argument.format(photos=photos) for argument in arguments))
    assert code == 2
    assert lines == []
    assert messages.startswith("error: ")
    assert message in messages
    assert len(messages.splitlines()) == 1


def test_depth_files_go_with_their_images_and_wants_are_named(run, photos, checkpoint, tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "a.npy", np.random.default_rng(0).random((120, 90)))
    command = (photos, "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out", "--depth")
    code, _, errors = run(*command, maps)
    assert code == 2
    assert "network, deforhmr, takes no depth: leave the depth out, or choose a checkpoint of d2a_hmr" in errors
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(inference, "needs_depth", lambda model: True)
    Image.new("RGB", (30, 40)).save(photos / "c.png")
    np.save(maps / "c.npy", np.ones((30, 40)))
    code, lines, errors = run(*command, maps)
    assert code == 2
    assert "b.png has no depth map: the prediction is from the image alone" in errors
    assert "c.npy is 40x30 but its image 30x40" in errors
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    code, _, errors = run(*command, maps / "a.npy")
    assert code == 2
    assert "is the depth of one image, not of 3" in errors
    code, _, errors = run(*command, "diskk:maps")
    assert code == 2
    assert "names no depth provider; did you mean 'disk'?" in errors


def test_a_box_outside_its_image_is_told_and_leaves_no_files(run, photos, checkpoint, tmp_path):
    output = tmp_path / "out"
    code, _, messages = run(photos / "a.jpg", "--boxes=200,0,300,50", "--checkpoint", checkpoint, "--output", output)
    assert code == 2
    assert messages == "error: Box 0 of a.jpg (200, 0, 300, 50) lies outside its image of 90x120 pixels.\n"
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("3", "must hold"),
        ('{"b.jpg": []}', "no boxes for a.jpg"),
        ('{"a.jpg": [[1, 2]]}', "not a list of"),
    ],
)
def test_box_files_are_checked(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(str(path), [Path("a.jpg")])


def test_box_files_of_other_systems_are_read(tmp_path):
    text = json.dumps({"sub/\u00e9.jpg": [[1, 2, 30, 40]], "b.jpg": [1, 2, 30, 40]}, ensure_ascii=False)
    composed, decomposed = Path("sub/\u00e9.jpg"), Path("sub/e\u0301.jpg")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "boxes.json").write_text(text, encoding=encoding)
        for path in (composed, decomposed, tmp_path / decomposed):
            boxes = read_boxes(str(tmp_path / "boxes.json"), [path, Path("b.jpg")])
            np.testing.assert_array_equal(boxes, [[[1, 2, 30, 40]]] * 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"x.jpg": []}', "'x.jpg' could be c1/x.jpg or c2/x.jpg; state the folder, too"),
        ('{"c1/x.jpg": []}', "has no boxes for x.jpg"),
        ('{"c1/x.jpg": [], "c2/x.jpg": [], "c1/x.jpg": []}', "'c1/x.jpg' stands twice"),
        ('{"c1/x.jpg": [], "./c1/x.jpg": [], "c2/x.jpg": []}', "are the same file"),
        ('{"c1/x.jpg": [[1, 2, 3, 4, 0.9]], "c2/x.jpg": []}', "leave scores, classes and other columns out"),
        ('{"c1/x.jpg": [[1, 2, 3, 4, 0.9, 0], [1, 2, 3, 4, 0.9, 0]], "c2/x.jpg": []}', r"shape \(2, 6\)"),
        ('{"c1/x.jpg": [1, 2, 3, 4, 5, 6, 7, 8], "c2/x.jpg": []}', r"shape \(8,\)"),
        ('{"c1/x.jpg": [[1, 2, 3, 4], [1, 2, 3]], "c2/x.jpg": []}', "are not a list of"),
        ('{"c1/x.jpg": {"box": 1}, "c2/x.jpg": []}', "are not a list of"),
        ('{"c1/x.jpg": ' + 100000 * "[", "not valid JSON"),
    ],
    ids=lambda text: text[:40],
)
def test_boxes_of_a_name_in_two_folders_and_rows_with_more_are_refused(tmp_path, content, message):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(str(tmp_path / "boxes.json"), [Path("c1/x.jpg"), Path("c2/x.jpg")])


def test_boxes_by_folder_and_name_go_to_their_images(tmp_path):
    images = [tmp_path / "c1" / "x.jpg", tmp_path / "c2" / "x.jpg", tmp_path / "c2" / "y.jpg"]
    table = {"c2/x.jpg": [[0, 0, 2, 2]], str(images[0]): [[0, 0, 1, 1]], "y.jpg": [], "c3/x.jpg": [[9, 9, 10, 10]]}
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    boxes = read_boxes(str(tmp_path / "boxes.json"), images)
    assert [own.tolist() for own in boxes] == [[[0, 0, 1, 1]], [[0, 0, 2, 2]], []]


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a.jpg", "a.png", "a_2.jpg"], ["a", "a_3", "a_2"]),
        (["a_2.jpg", "a.png", "a.jpg"], ["a_2", "a_3", "a"]),
        (["c1/x.jpg", "c2/x.jpg", "c2/y.jpg"], ["x", "x_2", "y"]),
        (["A.jpg", "a.png", "a_2.png", "A_2.jpg"], ["A", "a_3", "a_2_2", "A_2"]),
    ],
)
def test_names_of_results_belong_to_one_image_in_any_order(images, names):
    assert result_names([Path(image) for image in images]) == names
    assert result_names([Path(image) for image in images[::-1]]) == names[::-1]


def test_results_of_earlier_runs_are_replaced_or_removed(run, photos, checkpoint, tmp_path):
    output, boxes = tmp_path / "out", tmp_path / "boxes.json"
    others = ["a_overlay.json", "a_2.glb", "ab.glb", "a_sampling.txt", "c.glb", "a_sampling_1_overlay.png"]
    command = (photos, "--boxes", boxes, "--checkpoint", checkpoint, "--output", output)

    def results(table):
        boxes.write_text(json.dumps(table))
        code, _, _ = run(*command)
        return code, sorted(path.name for path in output.iterdir())

    two = [[10, 10, 80, 110], [0, 0, 50, 60]]
    _, full = results({"a.jpg": two, "b.png": two})
    assert {"a.glb", "a_sampling_0.png", "a_sampling_1.png"} <= set(full)
    for name in others:
        (output / name).touch()
    code, left = results({"a.jpg": two[:1], "b.png": []})
    assert code == 0
    named = {"a.json", "a.npz", "a.glb", "a_overlay.png", "a_sampling.png", "b.json", "b.npz", "b_overlay.png"}
    assert set(left) == {*others, *named}
    code, left = results({"a.jpg": [[500, 0, 600, 80]], "b.png": two[:1]})
    assert code == 2
    assert set(left) == {*others, "b.json", "b.npz", "b.glb", "b_overlay.png", "b_sampling.png"}


def test_results_are_those_of_an_empty_folder_whatever_was_there(checkpoint, photos, tmp_path):
    rng = np.random.default_rng(3)
    for name in ("c.png", "d.png", "a.png", "a_2.png"):
        Image.fromarray(rng.integers(0, 256, (80, 60, 3), np.uint8)).save(photos / name)
    images = sorted(photos.iterdir())
    table = {path: np.array([[5.0, 5, 50, 70], [0, 0, 40, 60]])[: i % 3] for i, path in enumerate(images)}
    predictor = inference.Predictor.from_checkpoint(checkpoint, batch_size=2)

    def results(order, output):
        return {
            path.relative_to(output): path.read_bytes()
            for path in predict_files(predictor, order, output, [table[image] for image in order])
        }

    expected = results(images, tmp_path / "empty")
    table_before = table
    table = {path: table[images[i - 1]] for i, path in enumerate(images)}
    results(images, tmp_path / "used")
    table = table_before
    for order in (images[::-1], images):
        again = results(order, tmp_path / "used")
        assert again.keys() == expected.keys() == {Path(path.name) for path in (tmp_path / "used").iterdir()}
        for name in expected:
            if name.suffix == ".json":
                one, other = (json.loads(made[name]) for made in (again, expected))
                assert one["image"] == other["image"]
                for person, same in zip(one["people"], other["people"], strict=True):
                    for field in person:
                        np.testing.assert_allclose(person[field], same[field], rtol=1e-3, atol=1e-4)


def test_results_beside_the_images_are_never_taken_for_images(run, photos, checkpoint):
    command = ("--boxes", "whole", "--checkpoint", checkpoint, "--output", photos)
    assert run(photos, *command)[0] == 0
    code, _, errors = run(photos, *command)
    assert code == 2
    assert "a_overlay.png is called as a result of" in errors
    assert "choose another folder" in errors
    assert run(photos / "a.jpg", *command)[0] == 0  # its own results are replaced


def test_folders_hold_more_than_images(run, photos, checkpoint, tmp_path):
    (photos / "folder.jpg").mkdir()
    (photos / "._a.jpg").write_bytes(b"notes of a file manager")
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    name = "n" * 247 + ".png"
    Image.new("RGB", (20, 20)).save(photos / name)
    command = (photos, photos / "a.jpg", "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out")
    code, lines, errors = run(*command)
    assert code == 2
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    assert "There is no image" in errors
    assert "the name is too long for those of the results; shorten it" in errors
    assert "(2 of 4 images were left out)" in errors


def test_names_that_the_terminal_cannot_show_do_not_stop_the_run(run, photos, checkpoint, tmp_path, monkeypatch):
    (photos / "a.jpg").rename(photos / "\u00e9 \u00fc.jpg")
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", screen)
    code, _, _ = run(photos, "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out")
    assert code == 0
    assert b"\\xe9 \\xfc.json" in screen.buffer.getvalue()
    assert json.loads((tmp_path / "out" / "\u00e9 \u00fc.json").read_text())["image"]["file"] == "\u00e9 \u00fc.jpg"


def test_a_map_serves_one_image(run, photos, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "needs_depth", lambda model: True)
    np.save(tmp_path / "a.npy", np.ones((120, 90)))
    Image.open(photos / "a.jpg").save(photos / "a.png")
    command = (photos, "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out", "--depth")
    code, _, errors = run(*command, tmp_path)
    assert code == 2
    assert f"a.npy would be the depth of both {photos}/a.jpg and {photos}/a.png: give them different names" in errors
    assert not (tmp_path / "out").exists()


def test_a_map_is_found_however_the_accents_of_its_name_are_written(tmp_path):
    np.save(tmp_path / "e\u0301.npy", np.ones((2, 2)))
    assert DiskDepth(str(tmp_path)).find("\u00e9") is not None


def test_intrinsics_that_do_not_fit_an_image_leave_out_that_image(run, photos, checkpoint, tmp_path):
    Image.new("RGB", (3000, 40)).save(photos / "wide.png")
    command = (photos, "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out", "--intrinsics")
    code, lines, errors = run(*command, "150,160,45,60")
    assert code == 2
    assert "3000x40 they are too small for pixels" in errors
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    code, _, errors = run(*command, "150,160,45")
    assert (code, errors) == (2, "error: --intrinsics 150,160,45: give four numbers, fx,fy,cx,cy, in pixels.\n")


@pytest.fixture
def ask(run, photos, checkpoint, tmp_path):
    """Predicts the photos into one folder, and returns the files written and the messages."""

    def program(*arguments) -> tuple[list[str], str]:
        command = (photos, "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / "out", *arguments)
        code, lines, messages = run(*command)
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
    written = ask("--only", "npz,obj,ply,html", "--axes", "blender")[0]
    assert {name.partition(".")[2] for name in written} == {"npz", "obj", "ply", "html"}
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
