"""Anybody's capture in the documented format becomes records that say the same; mistakes are told in sentences."""

import copy

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import checks, mlb_pitch  # noqa: E402
from formats.checks import read, source_points  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.mlb_pitch import MlbPitch  # noqa: E402
from data_pipelines.builders.formats import capture  # noqa: E402
from data_pipelines.builders.report import NO_ROOT  # noqa: E402
from hmr_jax.body.joints import KEYPOINTS_44  # noqa: E402


class MlbPitchTest(checks.BuilderTestCase):
    DATASET_CLASS = MlbPitch
    SPLITS = {"train": 2}  # noqa: RUF012
    OPTIONS = {}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual[0])


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pitch")
    return folder, mlb_pitch.write(folder)


def test_joints_come_through_unchanged_and_land_on_the_image(manual, tmp_path):
    folder, drawn = manual
    assert build("mlb_pitch", tmp_path, folder)["train"] == {"read": 2, "kept": 2, "dropped": {}}
    seen = mlb_pitch.IN_44
    for row, record in enumerate(read(tmp_path, "mlb_pitch", "train")):
        assert record["key"] == f"train-images/{row:04d}.jpg-pitcher"
        truth_2d, truth_3d = drawn["keypoints_2d"][row], drawn["keypoints_3d"][row]
        points = source_points(record, record["keypoints_2d"][seen, :2])
        np.testing.assert_allclose(points, truth_2d[seen, :2], atol=1e-3)
        np.testing.assert_allclose(record["keypoints_3d"][seen], truth_3d[seen], atol=1e-5)
        hips = truth_3d[[27, 28], :3].mean(0)  # nobody named a pelvis
        np.testing.assert_allclose(record["keypoints_3d"][39], [*hips, 1], atol=1e-5)
        drawn_points = record["keypoints_3d"][seen, :3] @ record["camera/intrinsics"].T
        drawn_points = drawn_points[:, :2] / drawn_points[:, 2:]
        np.testing.assert_allclose(drawn_points, record["keypoints_2d"][seen, :2], atol=0.01)
        assert np.flatnonzero(record["keypoints_2d"][:, 2]).tolist() == sorted([*seen, 39])


def test_what_is_absent_is_absent_or_projected(tmp_path):
    contents, drawn = mlb_pitch.document()
    first, second = contents["people"]
    del first["keypoints_2d"], second["keypoints_3d"], second["camera"]
    second["keypoints_2d"][3] = None
    first["box"] = [20, 30, 120, 100]
    mlb_pitch.write(tmp_path / "m", contents)
    build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    one, two = read(tmp_path / "o", "mlb_pitch", "train")
    points = source_points(one, one["keypoints_2d"][mlb_pitch.IN_44, :2])
    np.testing.assert_allclose(points, drawn["keypoints_2d"][0, mlb_pitch.IN_44, :2], atol=1e-3)
    center = source_points(one, one["box/center"][None])[0]
    np.testing.assert_allclose(center, [69.5, 64.5], atol=1e-4)
    assert not two["keypoints_3d"].any()
    assert not two["camera/has_intrinsics"]
    assert two["keypoints_2d"][28, 2] == 0


def test_rows_that_contradict_themselves_are_dropped(tmp_path):
    contents, _ = mlb_pitch.document()
    third, fourth = copy.deepcopy(contents["people"])
    third["id"] = fourth["id"] = "other"
    third["keypoints_2d"] = [[x + 90, y, c] for x, y, c in third["keypoints_2d"]]
    fourth["image"] = "images/none.jpg"
    contents["people"] += [third, fourth, contents["people"][0]]
    mlb_pitch.write(tmp_path / "m", contents)
    assert build("mlb_pitch", tmp_path / "o", tmp_path / "m")["train"]["dropped"] == {
        "keypoints: 3-D ones do not project onto 2-D ones": 1, "image: missing": 1, "key: used before": 1,
    }  # fmt: skip


def test_files_of_one_name_hold_different_people(tmp_path):
    mlb_pitch.write(tmp_path / "m")
    mlb_pitch.write(tmp_path / "m" / "train")
    mlb_pitch.write(tmp_path / "m" / "train", split="more")
    report = build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    assert report["train"] == {"read": 6, "kept": 6, "dropped": {}}
    keys = {record["key"] for record in read(tmp_path / "o", "mlb_pitch", "train")}
    names = ("train", "train/train", "more")
    assert keys == {f"{name}-images/{row:04d}.jpg-pitcher" for name in names for row in range(2)}


MISTAKES = {
    "'format' should be": lambda file: file.pop("format"),
    "no field 'unit'; did you mean 'units'": lambda file: file.update(unit="m"),
    "'units' should be one of m, cm, mm, in, ft, not 'yards'": lambda file: file.update(units="yards"),
    "no joint 'left_kne'; did you mean 'left_knee'": lambda file: file["joints"].__setitem__(4, "left_kne"),
    "The joint 'nose' is there twice": lambda file: file["joints"].__setitem__(4, "nose"),
    "Person 1 should have 16 keypoints_2d": lambda file: file["people"][1]["keypoints_2d"].pop(),
    "Person 0 has keypoints_3d that are neither": lambda file: file["people"][0]["keypoints_3d"].__setitem__(0, [1]),
    "camera that is not there: 'cam'": lambda file: file["people"][0].update(camera="cam"),
    "The camera 'camera0' needs a rotation matrix": lambda file: file["cameras"]["camera0"].pop("rotation"),
    "The camera 'camera1' needs intrinsics": lambda file: file["cameras"]["camera1"].update(intrinsics=[1, 2]),
    "Person 0 has keypoints_3d, but the file does not say its 'units'": lambda file: file.pop("units"),
    "Person 1 needs a box": lambda file: file["people"][1].update(box=[5, 5, 4, 9]),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_told_in_sentences(sentence):
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    assert capture.problems(contents) == []
    MISTAKES[sentence](contents)
    assert any(sentence in problem for problem in capture.problems(contents)), capture.problems(contents)


def test_a_damaged_file_is_named_before_anything_is_built(tmp_path):
    mlb_pitch.write(tmp_path / "m", {"joints": 3})
    with pytest.raises(ValueError, match=r"(?s)train\.json is not of the format.*'joints' should be a list"):
        build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    (tmp_path / "m" / "train.json").write_text("{")
    with pytest.raises(ValueError, match="is not a JSON file"):
        build("mlb_pitch", tmp_path / "o", tmp_path / "m")


# Units and sizes


@pytest.mark.parametrize("unit", capture.UNITS)
@pytest.mark.parametrize("stated", capture.UNITS)
def test_a_wrong_unit_is_refused_and_the_right_one_named(unit, stated):
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    factor = mlb_pitch.FOOT / capture.UNITS[unit]
    for person in contents["people"]:
        person["keypoints_3d"] = [[factor * value for value in point[:3]] for point in person["keypoints_3d"]]
    contents["units"] = stated
    found = capture.problems(contents)
    if unit == stated:
        assert found == []
    else:
        assert len(found) == 1
        assert f"'units' is '{stated}', by which the people are" in found[0]
        assert f"should it be '{unit}'?" in found[0]


def test_children_and_giants_are_people():
    contents, _ = mlb_pitch.document()
    for factor in (0.55, 1.4):
        changed = copy.deepcopy(contents)
        for person in changed["people"]:
            person["keypoints_3d"] = [[factor * value for value in point[:3]] for point in person["keypoints_3d"]]
        assert capture.problems(changed) == []


def test_one_person_of_a_wrong_size_is_dropped(tmp_path):
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    tiny = contents["people"][0]
    points = np.array(tiny.pop("keypoints_3d"))[:, :3]
    tiny["keypoints_3d"] = (points.mean(0) + 0.1 * (points - points.mean(0))).tolist()
    del tiny["keypoints_2d"]
    contents["people"] += [dict(contents["people"][1], id=str(n)) for n in range(2)]
    mlb_pitch.write(tmp_path / "m", contents)
    report = build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    assert report["train"]["dropped"] == {"keypoints_3d: not of a person's size": 1}


# The root


def without(contents, *names):
    """The file without some joints."""
    contents = copy.deepcopy(contents)
    for person in contents["people"]:
        for name in names:
            for kind in ("keypoints_2d", "keypoints_3d"):
                person[kind][contents["joints"].index(name)] = None
    return contents


def test_people_without_a_root_say_so(tmp_path):
    contents, _ = mlb_pitch.document()
    mlb_pitch.write(tmp_path / "m", without(contents, "left_hip"))
    report = build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    assert report["train"]["kept"] == 2
    assert report["train"]["noted"] == {NO_ROOT: 2}
    for record in read(tmp_path / "o", "mlb_pitch", "train"):
        assert not record["keypoints_3d"][39].any()
        assert not record["keypoints_2d"][39].any()
        assert record["keypoints_3d"][27, 3] == 1


def test_openposes_hips_are_a_root_too(tmp_path):
    contents, drawn = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    for side in ("left", "right"):
        contents["joints"][contents["joints"].index(f"{side}_hip")] = f"openpose_{side}_hip"
    mlb_pitch.write(tmp_path / "m", contents)
    assert "noted" not in build("mlb_pitch", tmp_path / "o", tmp_path / "m")["train"]
    record = read(tmp_path / "o", "mlb_pitch", "train")[0]
    np.testing.assert_allclose(
        record["keypoints_3d"][39], [*drawn["keypoints_3d"][0, [27, 28], :3].mean(0), 1], atol=1e-5
    )


@pytest.mark.parametrize("row", [None, [float("nan")] * 4, [float("nan")] * 3 + [0], [float("nan")] * 3])
def test_what_is_not_a_number_is_absent(tmp_path, row):
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    contents["people"][0]["keypoints_3d"][3] = row
    mlb_pitch.write(tmp_path / "m", contents)
    assert build("mlb_pitch", tmp_path / "o", tmp_path / "m")["train"]["kept"] == 2
    assert not read(tmp_path / "o", "mlb_pitch", "train")[0]["keypoints_3d"][28].any()


def test_a_confident_point_must_be_a_number():
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    contents["people"][0]["keypoints_3d"][3] = [0, float("nan"), 0, 1]
    assert "Person 0 has keypoints_3d that are neither" in capture.problems(contents)[0]


def test_every_keypoint_can_be_named():
    assert {capture.JOINTS[name] for name in KEYPOINTS_44} == set(range(44))
    assert capture.JOINTS["neck"] == KEYPOINTS_44.index("neck_lsp")
    assert capture.JOINTS["left_knee"] == KEYPOINTS_44.index("left_knee")
    assert capture.JOINTS["right_heel"] == KEYPOINTS_44.index("openpose_right_heel")
