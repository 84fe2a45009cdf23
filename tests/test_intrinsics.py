"""The camera of an image: given, from EXIF, or a default; and bodies are placed where it sees them."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from hmr_jax import geometry
from hmr_jax.geometry.cameras import NEAREST, fit_translation
from hmr_jax.geometry.intrinsics import camera_of, image_camera
from hmr_jax.inference.given import read_intrinsics
from hmr_jax.inference.inputs import photos_of
from hmr_jax.io.exif import focal_length, focal_length_of_file

BASE = ExifTags.Base


def photo(size=(400, 300), **tags) -> Image.Image:
    """A JPEG with tags of EXIF by their names."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update({BASE[name]: value for name, value in tags.items()})
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "jpeg", exif=exif)
    return Image.open(file)


STATED = {"ExifImageWidth": 4000, "ExifImageHeight": 3000}


def test_the_35_mm_equivalent_compares_diagonals():
    assert focal_length(photo(FocalLengthIn35mmFilm=26)) == pytest.approx(26 / np.hypot(36, 24) * 500)
    assert focal_length(photo((300, 400), FocalLengthIn35mmFilm=26, **STATED)) == pytest.approx(300.46, abs=0.01)


def test_a_sensor_of_22_3_mm_gives_the_focal_length_in_pixels():
    tags = {"FocalLength": 50.0, "FocalPlaneXResolution": 4000 / (22.3 / 25.4), "FocalPlaneResolutionUnit": 2} | STATED
    assert focal_length(photo(**tags)) == pytest.approx(50 / 22.3 * 400, rel=1e-5)
    centimetres = tags | {"FocalPlaneXResolution": 4000 / 2.23, "FocalPlaneResolutionUnit": 3}
    assert focal_length(photo(**centimetres)) == pytest.approx(50 / 22.3 * 400, rel=1e-5)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"FocalLength": 4.2},
        {"FocalLengthIn35mmFilm": 0},
        {"FocalLengthIn35mmFilm": 26, "ExifImageWidth": 4000, "ExifImageHeight": 2000},
        {"FocalLengthIn35mmFilm": 1},
        {"FocalLength": 50.0, "FocalPlaneXResolution": 0.0} | STATED,
        {"FocalLength": 50.0, "FocalPlaneXResolution": 4556.0, "FocalPlaneResolutionUnit": 9} | STATED,
    ],
    ids=["none", "no sensor", "unknown", "cropped", "no lens", "no resolution", "no unit"],
)
def test_exif_that_does_not_tell_gives_none(tags):
    assert focal_length(photo(**tags)) is None


def test_files_that_are_no_images_have_no_focal_length(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    assert focal_length_of_file(tmp_path / "a.jpg") is None
    assert focal_length_of_file(tmp_path / "b.jpg") is None


def test_pil_images_tell_their_own():
    photos = photos_of([photo(FocalLengthIn35mmFilm=26), np.zeros((3, 4, 3), np.uint8)])
    assert photos[0].camera.focal_length == pytest.approx([300.46] * 2, abs=0.01)
    assert [one.camera.source for one in photos] == ["exif", "default"]


def test_what_is_given_goes_before_exif_and_exif_before_the_default():
    size, given = (640, 480), (700.0, 710.0, 300.0, 200.0)
    cameras = [
        image_camera(size, given, exif=500.0), image_camera(size, None, exif=500.0), image_camera(size, None),
        image_camera(size, None, exif=500.0, crop_focal_length=5000.0),
    ]  # fmt: skip
    assert [camera.source for camera in cameras] == ["given", "exif", "default", "hmr2"]
    np.testing.assert_allclose(cameras[0].focal_length, [700, 710])
    np.testing.assert_allclose(cameras[1].focal_length, 500)
    half_diagonal = np.hypot(*size) / 2
    np.testing.assert_allclose(np.degrees(2 * np.arctan(half_diagonal / cameras[2].focal_length)), 60, rtol=1e-5)
    np.testing.assert_allclose(cameras[3].focal_length, 5000 / 256 * 640)
    assert all((camera.principal_point == (320, 240)).all() for camera in cameras[1:])
    assert image_camera(size, cameras[0]) is cameras[0]


def test_a_body_is_placed_where_its_projection_is_from():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.4, (5, 44, 3))
    translation = np.stack([rng.uniform(-1, 1, 5), rng.uniform(-1, 1, 5), rng.uniform(1.7, 9, 5)], 1)
    focal, center = np.tile([[700.0, 650.0]], (5, 1)), np.tile([[320.0, 200.0]], (5, 1))
    seen = geometry.project(points, translation, focal, center)
    np.testing.assert_allclose(fit_translation(points, seen, focal, center), translation, atol=1e-3)
    wrong = np.array(seen)
    wrong[:, :9] += 1000
    weights = np.ones((5, 44))
    weights[:, :9] = 1e-9
    np.testing.assert_allclose(fit_translation(points, wrong, focal, center, weights), translation, atol=2e-3)
    assert np.abs(fit_translation(points, wrong, focal, center) - translation).min(0).max() > 0.1


def test_no_body_is_placed_behind_the_camera():
    points = np.random.default_rng(0).normal(0, 0.4, (1, 44, 3))
    upside_down = -points[..., :2] * 100
    found = fit_translation(points, upside_down, np.full((1, 2), 500.0), np.zeros((1, 2)))
    np.testing.assert_allclose((points + found)[..., 2].min(), NEAREST, rtol=1e-4)


def test_intrinsics_of_a_file_are_those_of_the_images_that_it_names(tmp_path):
    images = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    (tmp_path / "k.json").write_text('{"b.jpg": [700, 700, 320, 240]}')
    assert read_intrinsics(str(tmp_path / "k.json"), images) == [None, [700, 700, 320, 240]]
    assert read_intrinsics("", images) is None
    for text, words in (('{"c.jpg": [1]}', "no intrinsics of any"), ("[1, 2]", "must hold")):
        (tmp_path / "k.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_intrinsics(str(tmp_path / "k.json"), images)
    with pytest.raises(FileNotFoundError, match="no file of intrinsics"):
        read_intrinsics("none.json", images)
    with pytest.raises(ValueError, match="give four numbers"):
        read_intrinsics("1,2,3", images)


def test_hmr2s_default_is_a_lens_of_5000_px():
    focal, principal_point = camera_of((640, 480), None, 5000.0)
    np.testing.assert_allclose(focal, 5000 / 256 * 640)
    np.testing.assert_allclose(principal_point, [320, 240])


MATRIX = np.array([[700.0, 0, 300], [0, 710, 200], [0, 0, 1]])
SKEWED = MATRIX + np.array([[0, 30.0, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("intrinsics", "reason"),
    [
        ((0, 1, 2, 3), "focal lengths must be positive"),
        ((np.nan, 1, 2, 3), "all numbers finite"),
        ((1, 2, 3), r"shape \(3,\)"),
        ("700,710", "no numbers"),
        ([[700, 0, 300], [0, 710]], "no numbers"),
        (MATRIX.T, "transposed"),
        (SKEWED, "skew of 30"),
        (MATRIX / 2, "must be"),
        (MATRIX[:, [1, 0, 2]], "must be"),
        (np.eye(4), r"shape \(4, 4\)"),
        (np.eye(3, 4), r"shape \(3, 4\)"),
        (np.stack([MATRIX, MATRIX]), r"shape \(2, 3, 3\)"),
        (MATRIX / [[640], [480], [1]], "too small for pixels"),
        ((1.2, 1.5, 0.5, 0.5), "too small for pixels"),
        ((700, 700, 0.47, 0.42), "too small for pixels"),
        ((35, 35, 18, 12), "too small for pixels"),
        ((7e7, 7e7, 300, 200), "too large for pixels"),
        ((700, 700, 3e5, 200), "too large for pixels"),
        ((700, 300, 710, 200), "too different"),
    ],
    ids=str,
)
def test_intrinsics_of_no_camera_are_refused_with_the_reason(intrinsics, reason):
    with pytest.raises(ValueError, match=f"{reason}.*give fx, fy, cx, cy in pixels of the image, or a 3x3 matrix"):
        camera_of((640, 480), intrinsics, 5000.0)


def test_a_leading_axis_of_one_and_a_tiny_skew_change_nothing():
    for intrinsics in (MATRIX[None], SKEWED - [[0, 29.9, 0], [0, 0, 0], [0, 0, 0]], [700, 710, 300, 200]):
        np.testing.assert_allclose(np.concatenate(camera_of((640, 480), intrinsics, 5000.0)), [700, 710, 300, 200])
