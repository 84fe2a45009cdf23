"""Calibration files of other programs: what they say is read, and what can be of no camera is told in a sentence."""

import json
import re
from dataclasses import replace

import fuzz_calibration
import numpy as np
import pytest
from calibration_files import WRITERS, easymocap, opencv_json, opencv_yaml, qca, toml
from ring import cameras

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.distortion import Lens
from hmr_jax.io.calibration import read_calibration
from hmr_jax.io.calibration.simple_yaml import parse_yaml


def check_same(found: Camera, made: Camera, size: bool = True) -> None:
    assert found.name == made.name
    assert found.placed
    assert found.image_size == (made.image_size if size else None)
    for name in ("intrinsics", "rotation", "translation"):
        np.testing.assert_allclose(getattr(found, name), getattr(made, name), atol=1e-9)
    np.testing.assert_allclose(found.lens.coefficients, made.lens.coefficients, atol=1e-12)
    assert found.lens.fisheye == made.lens.fisheye


@pytest.mark.parametrize("kind", WRITERS)
def test_the_cameras_of_a_file_are_those_that_were_written(tmp_path, kind):
    made = cameras()
    found = read_calibration(WRITERS[kind](made, tmp_path))
    assert len(found) == 4
    for one, other in zip(found, made, strict=True):
        check_same(one, other, size=kind != "easymocap")


def test_files_are_recognised_by_what_is_in_them_and_not_by_their_names(tmp_path):
    made = cameras()
    for text in (qca(made), toml(made), opencv_json(made), opencv_yaml(made[0])):
        path = tmp_path / "calibration"
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        found = read_calibration(path)
        np.testing.assert_allclose(found[0].intrinsics, made[0].intrinsics, atol=1e-9)


def test_opencvs_yaml_of_one_camera(tmp_path):
    path = tmp_path / "front.yml"
    path.write_text(opencv_yaml(cameras()[0]))
    (camera,) = read_calibration(path)
    assert (camera.name, camera.image_size, camera.placed) == ("front", (240, 320), False)
    np.testing.assert_allclose(camera.lens.coefficients, cameras()[0].lens.coefficients)
    path.write_text(opencv_yaml(cameras()[0]).replace("0.14000000000000001,", "0.14,").replace("data: [ ", "data: ["))
    assert len(read_calibration(path)) == 1


@pytest.mark.parametrize("extension", ["yml", "json"])
def test_what_opencv_itself_writes(tmp_path, extension):
    cv2 = pytest.importorskip("cv2")
    path, made = tmp_path / f"c.{extension}", cameras()[1]
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    file.write("image_width", 240)
    file.write("image_height", 320)
    file.write("camera_matrix", made.intrinsics)
    file.write("distortion_coefficients", made.lens.coefficients[:, None])
    file.write("R", made.rotation)
    file.write("T", made.translation[:, None])
    file.release()
    check_same(read_calibration(path)[0], replace(made, name="c"))


def test_cameras_of_ros_and_of_lists(tmp_path):
    path = tmp_path / "left.yaml"
    path.write_text(
        "image_width: 800\nimage_height: 600\ncamera_name: left  # by hand\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
        "  data: [1454.03, 0, 469.791,\n    0, 1458.92, 280.359, 0, 0, 1]\ndistortion_model: equidistant\n"
        "distortion_coefficients:\n  rows: 1\n  cols: 4\n  data: [-0.01, 0.02, -0.012, 0.001]\n"
    )
    (camera,) = read_calibration(path)
    assert camera.name == "left"
    assert camera.lens.fisheye
    path.write_text(json.dumps([{"K": [[900, 0, 320], [0, 900, 240], [0, 0, 1]]}] * 2))
    assert [camera.name for camera in read_calibration(path)] == ["0", "1"]
    assert read_calibration(path)[0].lens is None
    path.write_text(json.dumps({"cameras": {"a": {"K": np.diag([900, 900, 1]).tolist(), "name": "b"}}}))
    assert read_calibration(path)[0].name == "b"


def test_fisheye_lenses_of_pose2sim(tmp_path):
    made = replace(cameras()[0], lens=Lens(np.array([0.05, -0.02, 0.01, 0.0]), True))
    (tmp_path / "c.toml").write_text(toml([made]))
    check_same(read_calibration(tmp_path / "c.toml")[0], made)


def test_a_camera_of_a_qualisys_file_looks_at_what_is_before_it(tmp_path):
    """By hand: at (0, -2, 1) m, looking along y, up is z; the video shows the sensor from column 8 and row 16 on."""
    text = qca(cameras(1)[:1])
    for name, value in {
        "r11": 1, "r12": 0, "r13": 0, "r21": 0, "r22": 0, "r23": 1, "r31": 0, "r32": -1, "r33": 0,
        "x": 0, "y": -2000, "z": 1000, "left": 8, "top": 16, "right": 247, "bottom": 335,
    }.items():  # fmt: skip
        before, _, rest = text.partition(f' {name}="')
        text = f'{before} {name}="{value}"{rest.partition(chr(34))[2]}'
    (tmp_path / "c.qca.txt").write_text(text)
    (camera,) = read_calibration(tmp_path / "c.qca.txt")
    np.testing.assert_allclose(camera.to_camera(np.array([0.5, 1.0, 1.2])), [0.5, -0.2, 3.0], atol=1e-12)
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [120.5 - 8, 158.0 - 16])
    assert camera.image_size == (240, 320)


def test_units_can_be_said(tmp_path):
    millimetres = [replace(camera, translation=1000 * camera.translation) for camera in cameras()]
    path = WRITERS["pose2sim"](millimetres, tmp_path)
    with pytest.raises(ValueError, match=r"7,845 m apart.* units mm or cm"):
        read_calibration(path)
    for one, other in zip(read_calibration(path, "mm"), cameras(), strict=True):
        check_same(one, other)
    with pytest.raises(ValueError, match="Units 'inch': give m, cm, mm"):
        read_calibration(path, "inch")


def test_either_of_easymocaps_files_is_enough_with_the_other_beside_it(tmp_path):
    folder = WRITERS["easymocap"](cameras(), tmp_path)
    for name in ("intri.yml", "extri.yml"):
        check_same(read_calibration(folder / name)[2], cameras()[2], size=False)
    (folder / "extri.yml").unlink()
    with pytest.raises(FileNotFoundError, match=r"put extri.yml beside it"):
        read_calibration(folder)


def test_names_of_digits_keep_their_zeros(tmp_path):
    made = [replace(camera, name=f"0{number}") for number, camera in enumerate(cameras())]
    inner, outer = (text.replace('"', "") for text in easymocap(made))
    (tmp_path / "intri.yml").write_text(inner)
    (tmp_path / "extri.yml").write_text(outer)
    assert [camera.name for camera in read_calibration(tmp_path)] == ["00", "01", "02", "03"]


def changed(pattern: str, by: str, text: str) -> str:
    assert re.search(pattern, text), pattern
    return re.sub(pattern, by, text, count=1)


MADE = cameras()
INNER, OUTER = easymocap(MADE)
WRONG = {
    "nothing": ("", "is empty"),
    "a picture": (b"\xff\xd8\xff\xe0\x00", "no text in UTF-8"),
    "a letter": ("Dear all,\nhere they are.", "is no calibration file that is known: Qualisys"),
    "another yaml": ("%YAML:1.0\n---\na: 1\n", "neither camera_matrix nor EasyMocap's"),
    "another json": ('{"a": 1}', "has no camera_matrix"),
    "another toml": ("[tool]\nname = 'a'", "has no matrix and no distortions"),
    "qualisys cut": (qca(MADE)[:900], "not a whole Qualisys calibration: .*cut off"),
    "qualisys of none": ("<calibration/>", "has no cameras"),
    "qualisys empty": ('<c><camera serial="a"/></c>', "Camera 'a' .* needs a transform"),
    "qualisys bomb": ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "defines entities"),
    "qualisys name": (qca(MADE).replace("focalLengthU", "focus", 1), "Camera 'cam0' .* lacks a number"),
    "qualisys nan": (changed('focalLengthU="[^"]*"', 'focalLengthU="nan"', qca(MADE)), "Camera 'cam0'.*not finite"),
    "toml cut": (toml(MADE)[:500], "no whole TOML file .*cut off"),
    "toml without": (toml(MADE).replace("rotation", "rot"), "Camera 'cam0' of .* has no rotation"),
    "toml nan": (changed(r"translation = \[[^,]*", "translation = [nan", toml(MADE)), "not finite"),
    "toml degrees": (changed(r"rotation = \[[^,]*", "rotation = [90.0", toml(MADE)), "length of 90.*give radians"),
    "toml fisheye": (changed("fisheye = false", 'fisheye = "no"', toml(MADE)), "give true or false"),
    "toml size": (toml(MADE).replace("size = [ 240.0, 320.0]", "size = [ 24.0, 32.0]"), "Camera 'cam0'.*"),
    "toml text": (changed(r"matrix = .*", 'matrix = "K"', toml(MADE)), "matrix of intrinsics is 'K'; give numbers"),
    "twice": (toml(MADE).replace('"cam1"', '"cam0"'), "two cameras called 'cam0'"),
    "folding lens": (changed(r"distortions = \[[^,]*", "distortions = [-8.0", toml(MADE)), "fold the image"),
    "transposed": (json.dumps({"K": [[900, 0, 0], [0, 900, 0], [320, 240, 1]]}), "the matrix is transposed"),
    "normalised": (json.dumps({"K": [[0.9, 0, 0.5], [0, 0.9, 0.5], [0, 0, 1]], "width": 640, "height": 480}), "small"),
    "other size": (
        json.dumps({"K": [[1800, 0, 1920], [0, 1800, 1080], [0, 0, 1]], "size": [1280, 720]}),
        r"principal point \(1920, 1080\) is far outside of its image of 1280x720",
    ),
    "half a size": (json.dumps({"K": np.diag([9, 9, 1]).tolist(), "width": 640}), "image size has numbers"),
    "mirror": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "R": np.diag([1, 1, -1]).tolist(), "T": [0, 0, 1]}),
               "its rotation mirrors"),
    "no rotation": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "R": np.diag([1, 2, 1]).tolist(), "T": [0] * 3}),
                    "its rotation is off an orthogonal matrix by 3"),
    "only one": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "T": [0, 0, 1]}), "only one of rotation and"),
    "lens of two": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "D": [0.1, 0.2]}), "has 2 coefficients"),
    "lens model": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "model": "omni"}), "lens model is 'omni'; known"),
    "far": (json.dumps({"K": np.diag([9e2, 9e2, 1]).tolist(), "R": [0, 0, 0], "T": [0, 0, 4e3]}), "4,000 m apart"),
    "json cut": (opencv_json(MADE)[:200], "not valid JSON .*cut off"),
    "yaml cut": (opencv_yaml(MADE[0])[:360], "line 20, has a bracket that is not closed; was the file cut off"),
    "yaml counts": (opencv_yaml(MADE[0]).replace("rows: 3", "rows: 4"), "matrix of 4x3 has 9 numbers"),
    "yaml tabs": ("%YAML:1.0\ncamera_matrix:\n\trows: 3", "line 3, is indented by tabs"),
    "yaml anchor": ("%YAML:1.0\ncamera_matrix: &a\n  rows: 3", "line 2, has an anchor"),
    "easymocap": (INNER + OUTER.partition("R_cam0")[1] + OUTER.partition("R_cam0")[2].partition("T_cam3")[0],
                  "the files have no T_cam3"),
    "easymocap turns": (INNER + OUTER.split("\n", 7)[-1].replace("Rot_cam0", "X").replace("Rot_cam1", "Rot_cam0"),
                        "R_cam0 and Rot_cam0 are different rotations"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_calibration_is_told_in_a_sentence(tmp_path, name):
    contents, message = WRONG[name]
    path = tmp_path / "calibration"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises(ValueError, match=message) as error:
        read_calibration(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", fuzz_calibration.SEEDS)
def test_changed_files_give_cameras_or_a_sentence(kind):
    results = [fuzz_calibration.one(kind, seed) for seed in range(150)]
    assert 0 < sum(results) < 150


def test_files_and_folders_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no calibration file"):
        read_calibration(tmp_path / "a.toml")
    with pytest.raises(FileNotFoundError, match=r"has no intri.yml and extri.yml"):
        read_calibration(tmp_path)


def test_simple_yaml():
    text = """%YAML:1.0
---
a: 1   # one
"b c": "x: y # z"
d: [ 1., -.5e1, .Nan, 'q', [2, 3] ]
e:
    f: true
    g:
      - 1
      - h: 2
        i: null
      -
        - 4
    j: {k: 1, l: [2]}
m:
- 5
- word: with
n: C:/a b
"""
    found = parse_yaml(text, "file")
    assert np.isnan(found["d"].pop(2))
    assert found == {
        "a": 1, "b c": "x: y # z", "d": [1.0, -5.0, "q", [2, 3]],
        "e": {"f": True, "g": [1, {"h": 2, "i": None}, [4]], "j": {"k": 1, "l": [2]}},
        "m": [5, {"word": "with"}], "n": "C:/a b",
    }  # fmt: skip
