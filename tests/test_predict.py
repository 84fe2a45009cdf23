"""`python predict.py`: files in, files out, and errors of one sentence."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.depth.providers import DiskDepth
from hmr_jax.inference import predictor as inference
from hmr_jax.inference.files import predict_files, result_names


def test_a_folder_of_images_becomes_a_folder_of_results(predict, photos, tiny_checkpoint, tmp_path):
    output = tmp_path / "out"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [[10, 10, 80, 110], [0, 0, 50, 60]], "b.png": []}))
    (photos / "notes.txt").write_text("not an image")
    code, lines, _ = predict(photos, "--boxes", boxes, "--checkpoint", tiny_checkpoint, "--output", output)
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


def test_a_damaged_image_does_not_stop_the_others(predict, photos, tiny_checkpoint, tmp_path):
    output = tmp_path / "out"
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    code, _, messages = predict(
        photos, "--checkpoint", tiny_checkpoint, "--output", output, "--intrinsics", "150,160,45,60"
    )
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
def test_mistakes_are_told_in_one_line(predict, photos, arguments, message):
    code, lines, messages = predict(*(argument.format(photos=photos) for argument in arguments))
    assert code == 2
    assert lines == []
    assert messages.startswith("error: ")
    assert message in messages
    assert len(messages.splitlines()) == 1


def test_depth_files_go_with_their_images_and_wants_are_named(predict, photos, tiny_checkpoint, tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "a.npy", np.random.default_rng(0).random((120, 90)))
    command = (photos, "--boxes", "whole", "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out", "--depth")
    code, _, errors = predict(*command, maps)
    assert code == 2
    assert "network, deforhmr, takes no depth: leave the depth out, or choose a checkpoint of d2a_hmr" in errors
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(inference, "needs_depth", lambda model: True)
    Image.new("RGB", (30, 40)).save(photos / "c.png")
    np.save(maps / "c.npy", np.ones((30, 40)))
    code, lines, errors = predict(*command, maps)
    assert code == 2
    assert "b.png has no depth map: the prediction is from the image alone" in errors
    assert "c.npy is 40x30 but its image 30x40" in errors
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    code, _, errors = predict(*command, maps / "a.npy")
    assert code == 2
    assert "is the depth of one image, not of 3" in errors
    code, _, errors = predict(*command, "diskk:maps")
    assert code == 2
    assert "names no depth provider; did you mean 'disk'?" in errors


def test_a_box_outside_its_image_is_told_and_leaves_no_files(predict, photos, tiny_checkpoint, tmp_path):
    output = tmp_path / "out"
    code, _, messages = predict(
        photos / "a.jpg", "--boxes=200,0,300,50", "--checkpoint", tiny_checkpoint, "--output", output
    )
    assert code == 2
    assert messages == "error: Box 0 of a.jpg (200, 0, 300, 50) lies outside its image of 90x120 pixels.\n"
    assert list(output.iterdir()) == []


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


def test_results_of_earlier_runs_are_replaced_or_removed(predict, photos, tiny_checkpoint, tmp_path):
    output, boxes = tmp_path / "out", tmp_path / "boxes.json"
    others = ["a_overlay.json", "a_2.glb", "ab.glb", "a_sampling.txt", "c.glb", "a_sampling_1_overlay.png"]
    command = (photos, "--boxes", boxes, "--checkpoint", tiny_checkpoint, "--output", output)

    def results(table):
        boxes.write_text(json.dumps(table))
        code, _, _ = predict(*command)
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


def test_results_are_those_of_an_empty_folder_whatever_was_there(tiny_checkpoint, photos, tmp_path):
    rng = np.random.default_rng(3)
    for name in ("c.png", "d.png", "a.png", "a_2.png"):
        Image.fromarray(rng.integers(0, 256, (80, 60, 3), np.uint8)).save(photos / name)
    images = sorted(photos.iterdir())
    table = {path: np.array([[5.0, 5, 50, 70], [0, 0, 40, 60]])[: i % 3] for i, path in enumerate(images)}
    predictor = inference.Predictor.from_checkpoint(tiny_checkpoint, batch_size=2)

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


def test_results_beside_the_images_are_never_taken_for_images(predict, photos, tiny_checkpoint):
    command = ("--boxes", "whole", "--checkpoint", tiny_checkpoint, "--output", photos)
    assert predict(photos, *command)[0] == 0
    code, _, errors = predict(photos, *command)
    assert code == 2
    assert "a_overlay.png is called as a result of" in errors
    assert "choose another folder" in errors
    assert predict(photos / "a.jpg", *command)[0] == 0  # its own results are replaced


def test_folders_hold_more_than_images(predict, photos, whole, tmp_path):
    (photos / "folder.jpg").mkdir()
    (photos / "._a.jpg").write_bytes(b"notes of a file manager")
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    name = "n" * 247 + ".png"
    Image.new("RGB", (20, 20)).save(photos / name)
    code, lines, errors = predict(photos, photos / "a.jpg", *whole)
    assert code == 2
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    assert "There is no image" in errors
    assert "the name is too long for those of the results; shorten it" in errors
    assert "(2 of 4 images were left out)" in errors


def test_names_that_the_terminal_cannot_show_do_not_stop_the_run(
    predict, photos, tiny_checkpoint, tmp_path, monkeypatch
):
    (photos / "a.jpg").rename(photos / "\u00e9 \u00fc.jpg")
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", screen)
    code, _, _ = predict(photos, "--boxes", "whole", "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert code == 0
    assert b"\\xe9 \\xfc.json" in screen.buffer.getvalue()
    assert json.loads((tmp_path / "out" / "\u00e9 \u00fc.json").read_text())["image"]["file"] == "\u00e9 \u00fc.jpg"


def test_a_map_serves_one_image(predict, photos, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "needs_depth", lambda model: True)
    np.save(tmp_path / "a.npy", np.ones((120, 90)))
    Image.open(photos / "a.jpg").save(photos / "a.png")
    command = (photos, "--boxes", "whole", "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out", "--depth")
    code, _, errors = predict(*command, tmp_path)
    assert code == 2
    assert f"a.npy would be the depth of both {photos}/a.jpg and {photos}/a.png: give them different names" in errors
    assert not (tmp_path / "out").exists()


def test_a_map_is_found_however_the_accents_of_its_name_are_written(tmp_path):
    np.save(tmp_path / "e\u0301.npy", np.ones((2, 2)))
    assert DiskDepth(str(tmp_path)).find("\u00e9") is not None


def test_intrinsics_that_do_not_fit_an_image_leave_out_that_image(predict, photos, whole):
    Image.new("RGB", (3000, 40)).save(photos / "wide.png")
    command = (photos, *whole, "--intrinsics")
    code, lines, errors = predict(*command, "150,160,45,60")
    assert code == 2
    assert "3000x40 they are too small for pixels" in errors
    assert {Path(line).name for line in lines if line.endswith(".json")} == {"a.json", "b.json"}
    code, _, errors = predict(*command, "150,160,45")
    assert (code, errors) == (2, "error: --intrinsics 150,160,45: give four numbers, fx,fy,cx,cy, in pixels.\n")
