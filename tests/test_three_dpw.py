"""3DPW in its own format becomes records that say the same."""

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import checks, three_dpw  # noqa: E402
from formats.checks import check_labels_land_on_the_image, check_truth, read  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.three_dpw import ThreeDpw  # noqa: E402


class ThreeDpwTest(checks.BuilderTestCase):
    DATASET_CLASS = ThreeDpw
    SPLITS = {"train": 3, "validation": 3, "test": 3}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual[0])


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three_dpw")
    return folder, three_dpw.write(folder)


def test_labels_come_through_unchanged_and_land_on_the_image(manual, tmp_path):
    folder, truth = manual
    report = build("three_dpw", tmp_path, folder, body="default")
    for split, person in truth.items():
        assert report[split] == {"read": 6, "kept": 3, "dropped": {"camera: pose not valid": 3}}
        records = read(tmp_path, "three_dpw", split)
        assert [record["key"] for record in records] == [f"outdoors_{split}_00-0-{frame:05d}" for frame in range(3)]
        for record in records:
            check_truth(record, person)
            check_labels_land_on_the_image(record)
            assert record["gender"] == "m"
            assert record["topology"] == "hmr-default"
            points = person["keypoints_2d"][three_dpw.COCO_18_OF_44, :2]
            side = 1.2 * np.ptp(points, axis=0).max() * record["image/width"] / np.diff(record["image/source_box"][::2])
            assert record["box/size"] == pytest.approx(side.item(), rel=1e-5)


def test_without_a_body_there_is_neither_translation_nor_3d(manual, tmp_path):
    folder, truth = manual
    build("three_dpw", tmp_path, folder)
    record = read(tmp_path, "three_dpw", "test")[0]
    assert record["topology"] == "smpl"
    assert not record["smpl/has_translation"]
    assert not record["keypoints_3d"].any()
    np.testing.assert_allclose(record["smpl/betas"], truth["test"]["betas"], atol=1e-6)


def test_bad_rows_are_dropped_and_counted(tmp_path):
    person = three_dpw.people()
    sequence = three_dpw.sequence({k: v[0] for k, v in person.items()}, "a", 0)
    pose = sequence["poses"][0].copy()
    pose[1, 7] = np.nan
    tall = sequence["betas"][0].copy()
    tall[0] = 900
    three_dpw.write(tmp_path / "m", ("train",), poses=[pose, sequence["poses"][1]], genders=["m", "x"])
    three_dpw.write(tmp_path / "m", ("validation",), betas=[tall, tall])
    images = tmp_path / "m" / "imageFiles" / "outdoors_train_00"
    (images / "image_00002.jpg").write_bytes((images / "image_00002.jpg").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"(?s)No row of split 'validation'.*smpl: height out of range"):
        build("three_dpw", tmp_path / "o", tmp_path / "m", body="default")
    (tmp_path / "m" / "sequenceFiles" / "validation" / "outdoors_validation_00.pkl").unlink()
    report = build("three_dpw", tmp_path / "o", tmp_path / "m", body="default")
    assert report["train"]["dropped"] == {
        "gender: not known": 3, "smpl: not finite": 1, "image: cannot be decoded": 1,
    }  # fmt: skip


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    three_dpw.write(tmp_path / "m", ("train",))
    path = tmp_path / "m" / "sequenceFiles" / "train" / "outdoors_train_00.pkl"
    whole = path.read_bytes()
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match=r"outdoors_train_00\.pkl: The pickle asks for os\.system"):
        build("three_dpw", tmp_path / "o", tmp_path / "m")
    assert not (tmp_path / "owned").exists()
    path.write_bytes(whole[:5000])
    with pytest.raises(ValueError, match=r"outdoors_train_00\.pkl: .*truncated"):
        build("three_dpw", tmp_path / "o", tmp_path / "m")
