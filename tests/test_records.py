"""The record schema, its encoders, and what the validator refuses."""

import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import records
from data_pipelines.builders.labels.cropping import person_record
from data_pipelines.builders.labels.keypoints import clip_confidence
from data_pipelines.builders.labels.source_images import SourceImage
from data_pipelines.builders.report import Report
from data_pipelines.records import schema
from data_pipelines.records import validation as reasons


def person(**changes):
    """A good record of an imaginary person; `changes` are fields of the finished record."""
    rows, columns = np.mgrid[:48, :64]
    mask = (rows - 24) ** 2 + (columns - 32) ** 2 < 15**2
    keypoints_3d = np.ones((44, 4)) * [0.1, 0.2, 3.0, 1]
    record = records.encode(
        np.full((48, 64, 3), 128, np.uint8),
        key="one",
        dataset="imaginary",
        box_center=[32, 24],
        box_size=30,
        keypoints_2d=np.ones((44, 3)) * [30, 20, 1],
        keypoints_3d=keypoints_3d,
        pose=np.full((24, 3), 0.1),
        betas=np.zeros(10),
        translation=[0, 0, 3],
        topology="smpl",
        intrinsics=[[500, 0, 30 - 50 / 3], [0, 500, 20 - 100 / 3], [0, 0, 1]],
        mask=mask,
        depth=mask * (3 + 0.01 * columns),
    )
    return record | changes


def test_a_record_has_exactly_the_fields_of_the_schema():
    record = person()
    assert record.keys() == records.FIELDS.keys()
    assert (record["image/width"], record["image/height"]) == (64, 48)
    assert records.problems(record) == []


def test_labels_that_are_absent_are_zero_and_marked():
    record = records.encode(
        np.zeros((32, 32, 3), np.uint8),
        key="one",
        dataset="imaginary",
        box_center=[16, 16],
        box_size=20,
        keypoints_2d=np.ones((44, 3)) * [16, 16, 1],
    )
    assert records.problems(record) == []
    assert not any(record[name] for name in ("smpl/has_pose", "smpl/has_betas", "camera/has_intrinsics", "topology"))
    assert record["mask/encoded"] == record["depth/encoded"] == b""
    assert record["depth/kind"] == "none"
    assert not record["keypoints_3d"].any()


def test_a_jpeg_file_is_stored_as_it_is():
    jpeg = person()["image/encoded"]
    again = records.encode(jpeg, key="two", dataset="d", box_center=[0, 0], box_size=9, keypoints_2d=np.zeros((44, 3)))
    assert again["image/encoded"] == jpeg
    assert (again["image/width"], again["image/height"]) == (64, 48)


def test_mask_and_depth_survive_storage():
    mask = np.random.default_rng(0).random((48, 64)) < 0.5
    record = person(**{"mask/encoded": schema._compress(mask, "PNG")})
    np.testing.assert_array_equal(records.decode_mask(record["mask/encoded"]), mask)
    depth = np.random.default_rng(1).uniform(0.5, 60, (48, 64))
    stored = records.decode_depth(records.encode_depth(depth, "metric"), "metric")
    np.testing.assert_allclose(stored, depth, atol=0.51e-3)
    inverse = depth / 60
    stored = records.decode_depth(records.encode_depth(inverse, "inverse"), "inverse")
    np.testing.assert_allclose(stored, inverse, atol=1e-5)


NAN = np.float32(np.nan)
BAD = {
    "box/size: not finite": {"box/size": NAN},
    "smpl/betas: not finite": {"smpl/betas": np.full(10, NAN)},
    "keypoints_2d: wrong shape": {"keypoints_2d": np.zeros((25, 3))},
    "image: cannot be read": {"image/encoded": b"not an image"},
    "image: not of the size stated": {"image/width": 63},
    "box: side out of range": {"box/size": np.float32(3)},
    "box: outside the image": {"box/center": np.array([200, 24])},
    "keypoints: confidence not in [0, 1]": {"keypoints_2d": np.ones((44, 3)) * [30, 20, 2]},
    "keypoints: fewer than five, and no pose": {
        "keypoints_2d": np.zeros((44, 3)),
        "keypoints_3d": np.zeros((44, 4)),
        "smpl/has_pose": 0,
    },
    "keypoints: 3-D ones do not project onto 2-D ones": {"keypoints_3d": np.ones((44, 4)) * [0.6, 0, 3, 1]},
    "keypoints_2d: none inside the box": {"keypoints_2d": np.ones((44, 3)) * [63, 20, 1]},
    "keypoints_3d: spread over more than three metres": {
        "keypoints_3d": np.array([[0, 0, 3, 1]] * 43 + [[0, 9, 3, 1]], float)
    },
    "smpl: a rotation of more than a turn": {"smpl/body_pose": np.full(69, 5.0)},
    "smpl: betas out of range": {"smpl/betas": np.full(10, 11.0)},
    "smpl: behind the camera": {"smpl/translation": np.array([0, 0, -1.0])},
    "smpl/has_pose: neither 0 nor 1": {"smpl/has_pose": np.float32(0.5)},
    "topology: missing, though there are body parameters": {"topology": ""},
    "camera: not an intrinsics matrix": {"camera/intrinsics": np.zeros((3, 3))},
    reasons.FOCAL_NOT_IN_PX: {"camera/intrinsics": np.array([[5, 0, 30], [0, 5, 20], [0, 0, 1.0]])},
    reasons.NOT_AT_KEYPOINTS: {"smpl/translation": np.array([0, 0, 3000.0])},
    "gender: not n, m or f": {"gender": "male"},
    "depth: unknown kind": {"depth/kind": "feet"},
    "depth: map and kind disagree": {"depth/kind": "none"},
    "depth: metric, but the pelvis has no depth to subtract": {"keypoints_3d": np.zeros((44, 4))},
}


@pytest.mark.parametrize("reason", BAD)
def test_the_validator_names_what_is_wrong(reason):
    found = records.problems(person(**BAD[reason]))
    assert found[0] == reason


RELATIVE = np.ones((44, 4)) * [0.0, 0.2, 0.1, 1]
FAR = np.array([0, 0, 3000.0])
MM = np.array([[20, 0, 32], [0, 20, 24], [0, 0, 1.0]])  # a lens of 20 mm where 500 px are right
OTHER_UNITS = {
    "translation in mm": {"smpl/translation": FAR, "keypoints_3d": np.ones((44, 4)) * [0, 0, 3000, 1]},
    "translation in cm": {"smpl/translation": FAR / 10, "keypoints_3d": np.ones((44, 4)) * [0, 0, 300, 1]},
    "translation in mm, no 3-D keypoints": {"smpl/translation": FAR, "keypoints_3d": np.zeros((44, 4))},
    "translation in mm, keypoints relative to the root": {"smpl/translation": FAR, "keypoints_3d": RELATIVE},
    "translation in mm, keypoints without the pelvis": {
        "smpl/translation": FAR,
        "keypoints_3d": RELATIVE * (np.arange(44) != 39)[:, None],
    },
    "translation in mm, no 2-D keypoints": {
        "smpl/translation": FAR,
        "keypoints_3d": RELATIVE,
        "keypoints_2d": np.zeros((44, 3)),
    },
    "keypoints at mm, no translation": {
        "smpl/has_translation": 0,
        "keypoints_3d": np.ones((44, 4)) * [0, 0, 3000, 1],
    },
    "intrinsics in mm": {"camera/intrinsics": MM, "keypoints_3d": RELATIVE},
    "both in mm": {"camera/intrinsics": MM, "smpl/translation": FAR, "keypoints_3d": RELATIVE},
    "translation in km": {"smpl/translation": np.array([0, 0, 3e-3]), "keypoints_3d": np.zeros((44, 4))},
}


@pytest.mark.parametrize("name", OTHER_UNITS)
def test_camera_labels_in_another_unit_are_named(name):
    camera = {"camera/intrinsics": np.array([[500, 0, 30], [0, 500, 20], [0, 0, 1.0]]), "box/size": 60}
    found = records.problems(person(**{"depth/encoded": b"", "depth/kind": "none"} | camera | OTHER_UNITS[name]))
    assert found == [reasons.SIZE_NOT_OF_BOX]
    assert reasons.SIZE_NOT_OF_BOX in records.DOUBTS


@pytest.mark.parametrize(("depth", "focal", "side"), [(3, 500, 280), (0.6, 500, 30), (0.6, 500, 600), (40, 5000, 170)])
def test_close_and_distant_people_are_people(depth, focal, side):
    changes = {
        "smpl/translation": np.array([0, 0, depth]),
        "camera/intrinsics": np.array([[focal, 0, 32], [0, focal, 24], [0, 0, 1.0]]),
        "box/size": side,
        "keypoints_3d": RELATIVE if depth > 1 else np.zeros((44, 4)),
        "depth/encoded": b"",
        "depth/kind": "none",
    }
    assert records.problems(person(**changes)) == []


def test_a_lens_in_millimetres_is_measured_by_the_whole_image():
    image = SourceImage(np.zeros((1080, 1920, 3), np.uint8))
    labels = {
        "box_center": np.array([900, 500]),
        "box_size": 300.0,
        "keypoints_2d": np.ones((44, 3)) * [900, 500, 1],
        "intrinsics": np.array([[50, 0, 960], [0, 50, 540], [0, 0, 1.0]]),
    }
    record = person_record(image, key="a", dataset="d", limit=256, **labels)
    assert record["doubt"] == reasons.FOCAL_NOT_IN_PX
    assert list(Report().keep("train", [record])) == []
    assert list(Report().keep("test", [record], doubtful=True))


def test_the_validator_notices_a_missing_field():
    record = person()
    del record["gender"]
    assert records.problems(record) == ["fields: gender missing or unknown"]


def test_the_report_counts_what_was_dropped_and_why():
    report = Report()
    rows = [person(), "no image", person(key="two"), person(gender="x"), "no image"]
    kept = list(report.keep("train", rows))
    assert [key for key, _ in kept] == ["one", "two"]
    assert kept[0][1]["image"]["width"] == 64
    assert report.as_dict() == {"train": {"read": 5, "kept": 2, "dropped": {"no image": 2, "gender: not n, m or f": 1}}}
    assert "2 dropped: no image" in str(report)


def test_schema_and_sources_do_without_tensorflow():
    modules = "data_pipelines, data_pipelines.records, data_pipelines.sources, data_pipelines.builders"
    code = f"import sys, {modules}; assert not 'tensorflow' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confidence_of_detectors_above_1_is_kept_in_records():
    """Clipped, HMR2.0's labels weigh less here than in its own losses."""
    points = np.ones((3, 44, 3))
    points[0, :, 2], points[1, 0] = 1.2, [np.nan, np.nan, 0]
    points[2, :, 2] = -1
    kept = clip_confidence(points)
    assert kept[0, 0, 2] == 1.2
    assert not kept[1, 0].any()
    assert not kept[2, :, 2].any()
    assert clip_confidence(points, most=1)[..., 2].max() == 1
    record = person()
    record["keypoints_2d"][:, 2] = 1.2
    assert records.problems(record) == []
