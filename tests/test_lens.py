"""Predictions in images of lenses that distort: people stand where they stand, and overlays fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from calibration_files import WRITERS, opencv_yaml
from ring import cameras
from scipy.ndimage import map_coordinates

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.distortion import Lens, invert
from hmr_jax.geometry.intrinsics import image_camera, intrinsics_of_each
from hmr_jax.inference import Predictor
from hmr_jax.inference.earlier import request_of
from hmr_jax.inference.given import read_intrinsics
from hmr_jax.inference.placing import bend
from hmr_jax.io.images import read_image

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "beam.jpg"
LENS = Lens(np.array([-0.25, 0.05, 0.001, -0.001, 0.0]))


# ---- what is accepted


def test_a_camera_may_be_a_matrix_with_a_lens():
    matrix = [[700, 0, 320], [0, 710, 240], [0, 0, 1]]
    for name in ("matrix", "intrinsics"):
        camera = image_camera((640, 480), {name: matrix, "distortion": LENS.coefficients.tolist()})
        assert camera.focal_length.tolist() == [700, 710]
        assert camera.lens.coefficients.tolist() == LENS.coefficients.tolist()
        assert camera.describe()["lens"]["model"] == "brown"
    assert image_camera((640, 480), {"matrix": [700, 710, 320, 240], "distortion": [0, 0, 0, 0]}).lens is None
    assert "lens" not in image_camera((640, 480), matrix).describe()
    fisheye = {"matrix": matrix, "distortion": [0.1, 0, 0, 0], "fisheye": True}
    assert image_camera((640, 480), fisheye).lens.fisheye
    assert intrinsics_of_each(fisheye, 2) == [fisheye] * 2
    assert intrinsics_of_each([fisheye, None], 2) == [fisheye, None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"distortion": [0.1, 0, 0, 0]}, "has no matrix"),
        ({"matrix": [700, 700, 320, 240], "distorsion": [0.1]}, "has 'distorsion': give matrix"),
        ({"matrix": [700, 700, 320, 240], "distortion": [0.1]}, "1 coefficients"),
        ({"matrix": [700, 700, 320, 240], "fisheye": "yes"}, "give true or false"),
        ({"matrix": [700, 700, 320, 240], "distortion": [-4.0, 0, 0, 0]}, "fold the image before its border"),
    ],
)
def test_lenses_that_cannot_be_meant_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        image_camera((640, 480), given)


def test_hmr2s_camera_knows_no_lens():
    with pytest.raises(ValueError, match=r"HMR2\.0's camera knows no lens"):
        image_camera((640, 480), {"matrix": [700, 700, 320, 240], "distortion": LENS.coefficients}, None, 5000.0)


def test_a_calibrated_camera_is_scaled_to_its_image_and_other_aspects_are_refused():
    camera = cameras()[0]  # of 240 x 320
    twice = image_camera((480, 640), camera)
    np.testing.assert_allclose(twice.focal_length, [600, 602])
    np.testing.assert_allclose(twice.principal_point, (camera.intrinsics[:2, 2] + 0.5) * 2 - 0.5)
    with pytest.raises(ValueError, match=r"Camera 'cam0' was calibrated with images of 240x320, .* has 640x480"):
        image_camera((640, 480), camera)


# ---- files


def test_intrinsics_may_be_a_calibration_file(tmp_path):
    images = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    (tmp_path / "front.yml").write_text(opencv_yaml(cameras()[0]))
    found = read_intrinsics(str(tmp_path / "front.yml"), images)
    assert isinstance(found, Camera)
    assert found.lens is not None
    for write in WRITERS.values():
        path = write(cameras(), tmp_path)
        with pytest.raises(ValueError, match=r"has 4 cameras: give .*#NAME with one of cam0, cam1, cam2, cam3"):
            read_intrinsics(str(path), images)
        assert read_intrinsics(f"{path}#cam2", images).name == "cam2"
        with pytest.raises(ValueError, match="has no camera 'cam9'"):
            read_intrinsics(f"{path}#cam9", images)
    with pytest.raises(FileNotFoundError, match="There is no file of intrinsics"):
        read_intrinsics(str(tmp_path / "none.toml"), images)


def test_a_json_file_may_have_lenses_of_images(tmp_path):
    images = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    own = {"matrix": [700, 700, 320, 240], "distortion": [0.1, 0, 0, 0]}
    (tmp_path / "k.json").write_text(json.dumps({"b.jpg": own}))
    assert read_intrinsics(str(tmp_path / "k.json"), images) == [None, own]
    with pytest.raises(ValueError, match="no intrinsics of any of the images"):
        read_intrinsics(str(tmp_path / "k.json"), images[:1])


def test_another_lens_is_another_request(tmp_path):
    first, second = (
        request_of({}, tmp_path, None, {"matrix": [1, 1, 1, 1], "distortion": np.array([1 / 3, k])}) for k in (1, 1.001)
    )
    assert first != second
    made = cameras()
    assert request_of({}, tmp_path, None, made[0]) == request_of({}, tmp_path, None, cameras()[0])
    assert request_of({}, tmp_path, None, made[0]) != request_of({}, tmp_path, None, made[1])


# ---- people


def through(lens: Lens, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) of a pinhole as the lens shows it; black where it shows nothing of it."""
    rows, columns = np.indices(image.shape[:2]).astype(float)
    shown = (np.stack([columns, rows], -1) - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
    ideal, inside = invert(shown, *lens)
    at = ideal * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
    made = np.stack([map_coordinates(image[..., k], (at[..., 1], at[..., 0]), order=1) for k in range(3)], -1)
    return np.where(inside[..., None], made, 0).astype(np.uint8)


@pytest.mark.slow
def test_a_person_stands_where_a_pinhole_has_it_and_the_overlay_fits(tmp_path):
    image = read_image(PHOTO)
    height, width = image.shape[:2]
    # The axis of the lens is at the image's upper left, so the person is far off it.
    matrix = np.array([[1.3 * height, 0, 0.2 * width], [0, 1.3 * height, 0.2 * height], [0, 0, 1]])
    distorted = through(LENS, image, matrix)
    predictor = Predictor.from_checkpoint()
    plain = predictor([image], intrinsics=matrix)[0]
    people = predictor([distorted], intrinsics={"matrix": matrix, "distortion": LENS.coefficients})
    bent, ignored = people[0], predictor([distorted], [people[0].box], matrix)[0]
    distance = np.linalg.norm(plain.translation)
    assert np.linalg.norm(bent.translation - plain.translation) < 0.03 * distance
    assert np.linalg.norm(ignored.translation - plain.translation) > 0.05 * distance
    assert bent.lens.coefficients.tolist() == LENS.coefficients.tolist()

    def off(person, lens: Lens | None) -> float:
        """How far from the network's keypoints a pinhole, as overlays are drawn by, shows those of the body; boxes."""
        placed = bend(person.keypoints_3d + person.translation, lens)
        drawn = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        return float(np.median(np.linalg.norm(drawn - person.keypoints_image, axis=1)) / person.box_size)

    assert off(bent, LENS) < off(plain, None) + 0.01
    assert off(bent, None) > off(bent, LENS) + 0.015
    (file,) = people.save(tmp_path, ["json"])
    camera = json.loads(file.read_text())["camera"]
    assert camera["lens"] == {"model": "brown", "coefficients": LENS.coefficients.tolist()}
    assert "lens" not in json.loads(file.read_text())["people"][0]
    drawn = people.overlay()
    people.photos[0] = people.photos[0]._replace(camera=people.photos[0].camera._replace(lens=None))
    straight = people.overlay()
    assert (drawn[:, :width] != straight[:, :width]).any(-1).mean() > 0.01


def test_bent_points_are_seen_by_a_pinhole_where_the_lens_shows_them():
    camera = cameras()[0]
    points = np.random.default_rng(0).uniform([-0.5, -0.5, 1], [0.5, 0.5, 3], (50, 3))
    made = bend(points, LENS)
    shown = Camera("a", camera.intrinsics, LENS, np.eye(3), np.zeros(3), None).project(points)
    seen = made[:, :2] / made[:, 2:] @ camera.intrinsics[:2, :2].T + camera.intrinsics[:2, 2]
    np.testing.assert_allclose(seen, shown, atol=1e-9)
    assert (made[:, 2] == points[:, 2]).all()
    far = bend(np.array([[5.0, 0, 1]]), Lens(np.array([-0.3, 0, 0, 0])))  # where the formula would fold it back
    assert far[0, 0] > 3
    assert bend(points, None) is points
