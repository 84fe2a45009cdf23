"""EMDB in its own format becomes records that say the same."""

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import checks, emdb  # noqa: E402
from formats.checks import check_labels_land_on_the_image, check_truth, read, source_points  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.emdb import Emdb  # noqa: E402


class EmdbTest(checks.BuilderTestCase):
    DATASET_CLASS = Emdb
    SPLITS = {"test": 3}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["emdb1"]  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual[0])


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emdb")
    return folder, emdb.write(folder)


@pytest.mark.parametrize("part", ["emdb1", "emdb2"])
def test_labels_come_through_unchanged_and_land_on_the_image(manual, tmp_path, part):
    folder, person = manual
    report = build(f"emdb/{part}", tmp_path, folder, body="default")
    assert report["test"] == {"read": 4, "kept": 3, "dropped": {"frame: not good": 1}}
    name = {"emdb1": "P1_14_outdoor_climb", "emdb2": "P1_19_indoor_walk"}[part]
    records = read(tmp_path, f"emdb/{part}", "test")
    assert [record["key"] for record in records] == [f"{name}-{frame:05d}" for frame in (0, 1, 3)]
    for record in records:
        check_truth(record, person)
        check_labels_land_on_the_image(record)
        assert record["gender"] == "f"


def test_boxes_are_emdbs_own_or_about_the_joints(manual, tmp_path):
    folder, person = manual
    joints = emdb.sequence(person, "")["kp2d"][0]
    extent = np.ptp(joints, axis=0)
    for box, side, center in (
        ("emdb", (extent + 14).max(), joints.min(0) + extent / 2 - 2),
        ("joints", 1.2 * extent.max(), joints.min(0) + extent / 2),
    ):
        build("emdb/emdb1", tmp_path / box, folder, body="default", box=box)
        record = read(tmp_path / box, "emdb/emdb1", "test")[0]
        factor = np.diff(record["image/source_box"][::2]) / record["image/width"]
        assert record["box/size"] * factor == pytest.approx(side, rel=1e-5)
        np.testing.assert_allclose(source_points(record, record["box/center"][None])[0], center, atol=1e-3)
    with pytest.raises(ValueError, match="'emdb' or 'joints'"):
        build("emdb/emdb1", tmp_path, folder, box="large")


def test_without_a_body_the_joints_of_the_file_remain(manual, tmp_path):
    folder, person = manual
    build("emdb/emdb1", tmp_path, folder)
    record = read(tmp_path, "emdb/emdb1", "test")[0]
    assert record["topology"] == "smpl"
    assert not record["keypoints_3d"].any()
    assert not record["smpl/has_translation"]
    check_truth(record, person, translation=False, keypoints_3d=False)
    assert record["keypoints_2d"][:, 2].sum() == 14


def test_bad_rows_are_dropped_and_counted(tmp_path):
    data = emdb.sequence({name: values[0] for name, values in emdb.people().items()}, "")
    moved, smpl = data["kp2d"].copy(), {name: values.copy() for name, values in data["smpl"].items()}
    moved[0] += 30
    smpl["trans"][1] = np.nan
    emdb.write(tmp_path / "m", kp2d=moved, smpl=smpl)
    report = build("emdb/emdb1", tmp_path / "o", tmp_path / "m", body="default")
    assert report["test"]["dropped"] == {"labels: not finite": 1, "frame: not good": 1}
    assert report["test"]["noted"] == {"doubtful, but kept: kp2d: the body is not there": 1}
    emdb.write(tmp_path / "m", gender="robot")
    with pytest.raises(ValueError, match=r"(?s)No row.*gender: not known"):
        build("emdb/emdb1", tmp_path / "p", tmp_path / "m", body="default")
