"""People who stand on one floor tell the focal length of an image whose camera is not known."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.ground import SIZE, scene
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.body.posture import is_upright
from hmr_jax.body.skinning import rest_joints
from hmr_jax.geometry.intrinsics import ImageCamera, image_camera
from hmr_jax.geometry.standing import FEWEST, ground_of
from hmr_jax.inference import Predictor, predictor
from hmr_jax.inference.files import predict_files
from hmr_jax.inference.ground import SURE, cameras_by_people
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.photo import Photo

CAMERA = image_camera(SIZE, None)
EXPECTED = float(CAMERA.focal_length[0])


def found(one, spread=0.3):
    return ground_of(one.ankles, one.necks, one.lengths, CAMERA.principal_point, EXPECTED, spread)


@pytest.mark.parametrize("pitch", [15, 30, 50])
def test_people_without_errors_give_the_camera(pitch):
    one = scene(np.random.default_rng(pitch), 12, pitch, lean=0, errors=False)
    ground = found(one, spread=10.0)
    assert ground.focal_length == pytest.approx(one.focal_length, rel=1e-3)
    np.testing.assert_allclose(ground.up, one.up, atol=1e-3)
    heights = np.column_stack([(one.ankles - CAMERA.principal_point) / one.focal_length, np.ones(12)]) @ one.up
    assert (heights < 0).all()
    assert 2 < ground.height < 6


def test_errors_are_as_large_as_said_and_smaller_than_the_defaults():
    rng = np.random.default_rng(1)
    scenes = [scene(rng, 20, 30, lean=4) for _ in range(60)]
    grounds = [found(one) for one in scenes]
    truth = np.array([one.focal_length for one in scenes])
    errors = np.abs(np.log([one.focal_length for one in grounds] / truth))
    sigma = np.array([one.uncertainty for one in grounds])
    assert 0.55 < (errors < sigma).mean() < 0.85
    assert (errors < 2 * sigma).mean() > 0.9
    taken = sigma < SURE
    assert taken.sum() > 15
    assert np.median(errors[taken]) < 0.6 * np.median(np.abs(np.log(EXPECTED / truth[taken])))


def test_one_wrong_length_changes_the_camera_little():
    one = scene(np.random.default_rng(2), 20, 30, lean=2)
    lengths = one.lengths.copy()
    lengths[0] *= 4
    changed = found(one._replace(lengths=lengths))
    assert changed.focal_length == pytest.approx(found(one).focal_length, rel=0.2)  # twice, were errors squared


def test_a_level_camera_and_few_people_tell_nothing():
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert found(scene(rng, 20, 2, lean=4)).uncertainty > 2 * SURE
    few = scene(rng, FEWEST - 1, 30, lean=4)
    assert found(few) is None


@pytest.fixture(scope="module")
def rest():
    """Joints (24, 3) of the built-in body, which stands along y."""
    body = load_body_model()
    return np.asarray(rest_joints(body, np.zeros((1, body.num_betas), np.float32)))[0]


def people_of(one, rest, image=0):
    """Predictions of the people of a scene."""
    names = ("left_ankle", "right_ankle", "neck")
    ends, points = [SMPL_24.index(name) for name in names], [KEYPOINTS_44.index(f"openpose_{name}") for name in names]
    turned = rest @ Rotation.align_vectors([one.up], [[0, 1, 0]])[0].as_matrix().T
    turned /= np.linalg.norm(turned[ends[2]] - turned[ends[:2]].mean(0))
    every, made = [field.name for field in fields(PersonPrediction)], []
    for ankle, neck, length in zip(one.ankles, one.necks, one.lengths, strict=True):
        keypoints, pixels = np.zeros((44, 3)), np.zeros((44, 2))
        keypoints[points] = length * turned[ends]
        pixels[points] = np.subtract(ankle, [5, 0]), np.add(ankle, [5, 0]), neck
        known = {
            "image_index": image, "joints": length * turned, "keypoints_3d": keypoints, "keypoints_image": pixels,
        }  # fmt: skip
        made.append(PersonPrediction(**dict.fromkeys(every) | known))
    return made


def photo(camera=CAMERA):
    return Photo(Path("a.jpg"), np.broadcast_to(np.uint8(0), (*SIZE[::-1], 3)), camera)


def test_only_a_default_camera_gives_way_to_what_people_tell(rest):
    one = scene(np.random.default_rng(1), 40, 30, lean=1)
    cameras = [CAMERA, image_camera(SIZE, None, exif=900.0), image_camera(SIZE, (900, 900, 960, 640)), CAMERA]
    people = [person for image in range(3) for person in people_of(one, rest, image)]
    told, *others = cameras_by_people([photo(camera) for camera in cameras], people)
    assert told.source == "people"
    assert told.focal_length == pytest.approx([one.focal_length] * 2, rel=0.15)
    assert told.describe()["relative_uncertainty"] == told.uncertainty < SURE
    assert all(camera is other for camera, other in zip(cameras[1:], others, strict=True))


def test_people_who_sit_or_are_cut_off_do_not_count(rest):
    one = scene(np.random.default_rng(1), 40, 30, lean=1)
    people = people_of(one, rest)
    assert all(is_upright(person.joints) for person in people)
    joints = people[0].joints.copy()
    knees, ankles = ([SMPL_24.index(f"{side}_{part}") for side in ("left", "right")] for part in ("knee", "ankle"))
    joints[ankles] = joints[knees] + [0, 0, 0.4]
    assert not is_upright(joints)
    sitting = [replace(person, joints=joints) for person in people]
    cut = [replace(person, keypoints_image=np.add(person.keypoints_image, [0, SIZE[1]])) for person in people]
    for others in (sitting, cut):
        assert cameras_by_people([photo()], people[: FEWEST - 1] + others)[0] is CAMERA


def test_people_are_predicted_again_in_the_camera_that_they_tell(tiny_checkpoint, photos, tmp_path, monkeypatch):
    predict = Predictor.from_checkpoint(tiny_checkpoint)
    files = sorted(photos.iterdir())
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    boxes = [np.array([[5, 5, 60, 90]]), np.array([[5, 5, 60, 90], [40, 5, 90, 90]])]
    camera = ImageCamera(np.float32([300, 300]), np.float32([100, 50]), "people", uncertainty=0.1)
    default = predict(arrays, boxes)
    given = predict(arrays[1], boxes[1], [camera])
    monkeypatch.setattr(predictor, "cameras_by_people", lambda photos, people: [photos[0].camera, camera])
    people = predict(arrays, boxes)
    for one, other in zip(people, [default[0], *given], strict=True):
        np.testing.assert_array_equal(one.translation, other.translation)
        assert one.camera_source == other.camera_source
    assert np.abs(people[1].translation - default[1].translation).max() > 0.1
    still = predict(arrays, boxes, turns=[np.zeros(1), np.zeros(2)])  # frames of a video
    assert [person.camera_source for person in still] == ["default"] * 3

    list(predict_files(predict, files, tmp_path / "out", boxes, kinds=("json",)))
    said = [json.loads((tmp_path / "out" / f"{name}.json").read_text())["camera"] for name in "ab"]
    assert [(one["source"], one["relative_uncertainty"]) for one in said] == [("default", 0.3), ("people", 0.1)]
    assert said[1]["focal_length"] == [300, 300]
