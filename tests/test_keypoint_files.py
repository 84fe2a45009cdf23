"""Keypoints are read from the files of OpenPose, COCO and others, and bodies are moved onto them by predict.py."""

import json

import numpy as np
import pytest
from PIL import Image

from hmr_jax.body.joints import BLAZEPOSE_33, KEYPOINTS_44
from hmr_jax.inference.given import read_keypoints
from hmr_jax.inference.keypoint_files import as_keypoints, boxes_around

NOSE, LEFT_WRIST, RIGHT_ANKLE = (
    KEYPOINTS_44.index(f"openpose_{name}") for name in ("nose", "left_wrist", "right_ankle")
)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"COCO_val2014_{number:012d}.jpg" for number in (7, 42)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.new("RGB", (200, 100)).save(path)
    return paths


def coco_person(shift=0.0, confidence=0.9):
    """(17, 3): point i at (10 + i, 20 + 2 i)."""
    numbers = np.arange(17)
    return np.stack([10 + numbers + shift, 20 + 2 * numbers, np.full(17, confidence)], 1)


def check(found, shift=0.0, confidence=0.9):
    assert found.shape[1:] == (44, 3)
    np.testing.assert_allclose(found[0, NOSE], [10 + shift, 20, confidence])
    np.testing.assert_allclose(found[0, LEFT_WRIST], [19 + shift, 38, confidence])
    np.testing.assert_allclose(found[0, RIGHT_ANKLE], [26 + shift, 52, confidence])
    assert (found[0, 25:, 2] == 0).all()  # COCO says nothing of these


def written(tmp_path, contents):
    path = tmp_path / "keypoints.json"
    path.write_text(json.dumps(contents))
    return str(path)


def test_a_table_by_file_name(images, tmp_path):
    table = {path.name: [coco_person(10 * i).tolist()] for i, path in enumerate(images)}
    for number, found in enumerate(read_keypoints(written(tmp_path, table), images)):
        check(found, 10 * number)
    del table[images[1].name]
    assert read_keypoints(written(tmp_path, table), images)[1] is None


def test_archives_have_an_array_for_each_image(images, tmp_path):
    np.savez(tmp_path / "keypoints.npz", **{path.stem: coco_person()[None] for path in images})
    with pytest.raises(ValueError, match="no keypoints of any of the images"):
        read_keypoints(str(tmp_path / "keypoints.npz"), images)
    np.savez(tmp_path / "keypoints.npz", **{path.name: coco_person()[None] for path in images})
    check(read_keypoints(str(tmp_path / "keypoints.npz"), images)[0])


def test_results_of_coco(images, tmp_path):
    rows = [{"image_id": i, "keypoints": coco_person(i).ravel().tolist(), "score": 1.0} for i in (7, 42, 42)]
    first, second = read_keypoints(written(tmp_path, rows), images)
    check(first, 7)
    assert len(second) == 2
    with pytest.raises(ValueError, match="no people in any of the images"):
        read_keypoints(written(tmp_path, [{"image_id": 1, "keypoints": [0] * 51}]), images)


def test_a_data_set_of_coco_says_what_is_visible(images, tmp_path):
    person = coco_person(0, 2)
    person[9, 2], person[16] = 1, 0
    contents = {
        "images": [{"id": 1, "file_name": images[0].name}, {"id": 2, "file_name": images[1].name}],
        "annotations": [
            {"image_id": 1, "keypoints": person.ravel().tolist()},
            {"image_id": 1, "keypoints": [0] * 51},
            {"image_id": 2, "keypoints": person.ravel().tolist(), "iscrowd": 1},
        ],
    }
    first, second = read_keypoints(written(tmp_path, contents), images)
    assert len(first) == 1
    assert (first[0, NOSE, 2], first[0, LEFT_WRIST, 2], first[0, RIGHT_ANKLE, 2]) == (1, 0.5, 0)
    assert len(second) == 0


def test_files_of_openpose(images, tmp_path):
    points = np.zeros((25, 3))
    points[0], points[7], points[11] = (10, 20, 0.9), (19, 38, 0.9), (26, 52, 0.9)
    person = {"pose_keypoints_2d": points.ravel().tolist()}
    nobody = {"pose_keypoints_2d": [0] * 75}
    (tmp_path / "poses").mkdir()
    file = tmp_path / "poses" / f"{images[0].stem}_keypoints.json"
    file.write_text(json.dumps({"people": [person, nobody]}))
    first, second = read_keypoints(str(tmp_path / "poses"), images)
    check(first)
    assert len(first) == 1
    assert second is None
    check(read_keypoints(str(file), images[:1])[0])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([1, 2], "must hold {file name"),
        ({"COCO_val2014_000000000007.jpg": [[[1, 2, 3], [1, 2]]]}, "shape|x, y and confidence"),
        ({"COCO_val2014_000000000007.jpg": [[[1, 2, 0.5]] * 13]}, r"shape \(1, 13, 3\).*17, 25, 26, 33, 44 points"),
        ({"COCO_val2014_000000000007.jpg": [[[1, 2, 50]] * 17]}, "confidences up to 50"),
        ({"other.jpg": [[[1, 2, 0.5]] * 17]}, "no keypoints of any of the images"),
        ({"images": [], "annotations": [{"keypoints": 3}]}, "not a data set of COCO's keypoints"),
    ],
)
def test_other_files_are_refused(images, tmp_path, contents, message):
    with pytest.raises(ValueError, match=message):
        read_keypoints(written(tmp_path, contents), images)


def test_files_that_are_not_there(images, tmp_path):
    assert read_keypoints("", images) is None
    with pytest.raises(FileNotFoundError, match="no file of keypoints"):
        read_keypoints(str(tmp_path / "none.json"), images)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no COCO_val2014_000000000007_keypoints\.json"):
        read_keypoints(str(tmp_path / "empty"), images)
    (tmp_path / "table.txt").write_text("")
    with pytest.raises(ValueError, match=r"give \.json, \.npz, or a folder"):
        read_keypoints(str(tmp_path / "table.txt"), images)


def test_landmarks_of_blazepose_are_known():
    points = np.zeros((33, 3))
    points[BLAZEPOSE_33.index("left_foot_index")] = 1, 2, 0.5
    found = as_keypoints(points, "these")
    np.testing.assert_array_equal(found[0, KEYPOINTS_44.index("openpose_left_big_toe")], [1, 2, 0.5])


def test_boxes_have_room_around_the_keypoints():
    box = boxes_around(as_keypoints(coco_person(), "these"), "these")[0]
    np.testing.assert_allclose(box, [10 - 3.2, 20 - 3.2, 26 + 3.2, 52 + 3.2])
    few = np.zeros((1, 44, 3))
    few[0, 0, 2] = 1
    with pytest.raises(ValueError, match="person 0 has 1 keypoints, too few for a box"):
        boxes_around(few, "these")


# ---- predict.py


def test_predict_moves_bodies_onto_keypoints(predict, photos, tiny_checkpoint, tmp_path):
    common = (photos, "--checkpoint", tiny_checkpoint, "--only", "json")

    def people(folder, *options):
        code, _, errors = predict(*common, "--output", tmp_path / folder, *options)
        assert code == 0, errors
        return [json.loads((tmp_path / folder / name).read_text())["people"][0] for name in ("a.json", "b.json")]

    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [[10, 10, 80, 110]], "b.png": [[10, 10, 80, 90]]}))
    plain = people("plain", "--boxes", boxes)
    assert "moved" not in plain[0]  # this network's encoder finds no landmarks
    rng = np.random.default_rng(0)
    wanted = [np.array(person["keypoints_image"]) + rng.normal(0, 2, (44, 2)) for person in plain]
    rows = [np.concatenate([points, np.ones((44, 1))], 1)[None].tolist() for points in wanted]
    keypoints = written(tmp_path, dict(zip(("a.jpg", "b.png"), rows, strict=True)))
    moved = people("moved", "--boxes", boxes, "--keypoints", keypoints)
    for one, other, points in zip(plain, moved, wanted, strict=True):
        assert other["moved"] > 0
        np.testing.assert_allclose(np.array(other["keypoints_given"])[:, :2], points, atol=1e-3)
        off = [np.linalg.norm(np.array(person["keypoints_image"]) - points, axis=-1).mean() for person in (one, other)]
        assert off[1] < off[0]
    found = people("found", "--keypoints", keypoints)  # which say where people are
    assert found[0]["box"] == pytest.approx(boxes_around(as_keypoints(rows[0], ""), "")[0], abs=0.01)
    assert "moved" not in people("still", "--boxes", boxes, "--keypoints", keypoints, "--no-refine")[0]


def test_predict_wants_keypoints_for_each_box(predict, photos, tiny_checkpoint, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [[10, 10, 80, 110]], "b.png": [[10, 10, 80, 90]]}))
    keypoints = written(tmp_path, {name: [coco_person().tolist()] * 2 for name in ("a.jpg", "b.png")})
    code, _, errors = predict(photos, "--checkpoint", tiny_checkpoint, "--boxes", boxes, "--keypoints", keypoints)
    assert code == 2
    assert "a.jpg has 1 boxes, but keypoints of 2 people" in errors
