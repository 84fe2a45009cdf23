"""COCO, MPII and Human3.6M, in the formats of their owners and of those who fitted bodies to them."""

import contextlib
import json

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from etils import epath  # noqa: E402
from formats import checks, human36m, spin_npz  # noqa: E402
from formats.checks import check_box, check_truth, read, source_points  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.coco_pose import CocoPose  # noqa: E402
from data_pipelines.builders.datasets.human36m import Human36m  # noqa: E402
from data_pipelines.builders.datasets.mpii import Mpii  # noqa: E402
from data_pipelines.builders.formats.cdf import read_variable  # noqa: E402

NAMES = ["a/0.jpg", "a/1.jpg", "a/2.jpg"]
DATA = epath.Path(__file__).parent / "data" / "cdf"


class CocoPoseTest(checks.BuilderTestCase):
    DATASET_CLASS = CocoPose
    BUILDER_CONFIG_NAMES_TO_TEST = ["annotations"]  # noqa: RUF012
    SPLITS = {"train": 3}  # noqa: RUF012
    WRITE = staticmethod(spin_npz.write_coco)


class MpiiTest(checks.BuilderTestCase):
    DATASET_CLASS = Mpii
    BUILDER_CONFIG_NAMES_TO_TEST = ["annotations"]  # noqa: RUF012
    SPLITS = {"train": 3}  # noqa: RUF012
    WRITE = staticmethod(spin_npz.write_hourglass)


class Human36mTest(checks.BuilderTestCase):
    DATASET_CLASS = Human36m
    BUILDER_CONFIG_NAMES_TO_TEST = ["raw"]  # noqa: RUF012
    SPLITS = {"test": 3}  # noqa: RUF012
    WRITE = staticmethod(human36m.write)


def check_points(record, truth, expected):
    seen = record["keypoints_2d"][:, 2] > 0
    assert sorted(np.flatnonzero(seen)) == sorted(expected)
    points = source_points(record, record["keypoints_2d"][seen, :2])
    np.testing.assert_allclose(points, truth["keypoints_2d"][seen, :2], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "file", "split"),
    [
        ("coco_pose/spin", "coco_2014_train.npz", "train"),
        ("mpii/spin", "mpii_train.npz", "train"),
        ("human36m/train", "h36m_train.npz", "train"),
    ],
)
def test_spins_files_come_through_unchanged(tmp_path, name, file, split):
    truth = spin_npz.write(tmp_path / "m", file, NAMES)
    assert build(name, tmp_path, tmp_path / "m", body="default")[split]["kept"] == 3
    for record in read(tmp_path, name, split):
        person = truth[record["key"]]
        check_truth(record, person, translation=False)
        check_box(record, person)
        check_points(record, person, range(44))
        assert (record["keypoints_3d"][25:, 3] == 1).all()


def test_static_fits_replace_labels(tmp_path):
    truth = spin_npz.write(tmp_path / "m", "mpii_train.npz", NAMES, body=False)
    fits = np.array([np.concatenate([person["pose"], person["betas"]]) for person in truth.values()])
    np.save(tmp_path / "m" / "mpii_train_fits.npy", fits[:2])
    with pytest.raises(ValueError, match=r"mpii_train_fits\.npy has the shape \(2, 82\), but .* needs \(3, 82\)"):
        build("mpii/spin", tmp_path, tmp_path / "m", body="default")
    np.save(tmp_path / "m" / "mpii_train_fits.npy", fits)
    build("mpii/spin", tmp_path, tmp_path / "m", body="default")
    for record in read(tmp_path, "mpii/spin", "train"):
        check_truth(record, truth[record["key"]], translation=False)


def test_evaluation_files_of_human36m_have_boxes_and_3d_only(tmp_path):
    truth = spin_npz.write(tmp_path / "m", "h36m_valid_protocol2.npz", NAMES, body=False, part=None, openpose=None)
    assert build("human36m/protocol2", tmp_path, tmp_path / "m")["test"]["kept"] == 3
    for record in read(tmp_path, "human36m/protocol2", "test"):
        true = truth[record["key"]]["keypoints_3d"]
        np.testing.assert_allclose(record["keypoints_3d"][25:, :3], true[25:, :3] - true[39, :3], atol=1e-5)
        assert not record["keypoints_2d"].any()
        assert not record["topology"]


def test_cliffs_camera_is_kept_and_checked(tmp_path):
    """CLIFF's axis goes through the middle of the image: translations contain the shift from the people's own axes."""
    drawn = spin_npz.people()
    camera = drawn["intrinsics"][:3]
    middle = 80
    points = drawn["keypoints_2d"][:3].copy()
    points[..., :2] -= camera[:, None, :2, 2] - middle  # as a camera with its axis in the middle sees them
    center = drawn["box_center"][:3] - (camera[:, :2, 2] - middle)
    truth = spin_npz.write(
        tmp_path / "m", "mpii_cliffGT.npz", NAMES, cliff=True, center=center, part=spin_npz.spin_24(points),
        openpose=points[:, :25],
    )  # fmt: skip
    report = build("mpii/cliff", tmp_path, tmp_path / "m", body="default")["train"]
    records = read(tmp_path, "mpii/cliff", "train")
    assert report["kept"] == len(records) > 0
    assert not [reason for reason in report["dropped"] if reason.startswith("keypoints")]
    for record in records:
        checks.check_labels_land_on_the_image(record)
        person = truth[record["key"]]
        np.testing.assert_allclose(record["smpl/translation"], person["translation"], rtol=1e-5)
        np.testing.assert_allclose(record["keypoints_3d"], person["keypoints_3d"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "file"), [("coco_pose/eft", "COCO2014-Part-ver01.json"), ("mpii/eft", "MPII_ver01.json")]
)
def test_eft_comes_through_unchanged(tmp_path, name, file):
    truth = spin_npz.write_eft(tmp_path / "m", file, NAMES)
    assert build(name, tmp_path, tmp_path / "m", body="default")["train"]["kept"] == 3
    for record in read(tmp_path, name, "train"):
        person = truth[record["key"]]
        check_truth(record, person, translation=False, keypoints_3d=False)
        check_box(record, person)
        check_points(record, person, range(44))


def test_fits_that_miss_their_people_are_dropped(tmp_path):
    path = tmp_path / "m" / "MPII_ver01.json"
    spin_npz.write_eft(tmp_path / "m", path.name, NAMES)
    contents = json.loads(path.read_text())
    contents["data"][0]["parm_cam"][1] += 2
    contents["data"][1]["parm_pose"][4][0][0] += 0.5
    contents["data"].append({"imageName": "a"})
    contents["data"].append(contents["data"][2] | {"parm_shape": [float("nan")] * 10})
    path.write_text(json.dumps(contents))
    report = build("mpii/eft", tmp_path, tmp_path / "m", body="default")["train"]
    assert report["dropped"] == {
        "fit: does not project onto the 2-D keypoints": 1, "smpl: not rotations": 1,
        "labels: missing, or of another shape": 1, "labels: not finite": 1,
    }  # fmt: skip
    path = path.with_name("other.json")
    path.write_text('{"ver": 0.1, "data": [{"parm_pose": [')
    with pytest.raises(ValueError, match=r"other\.json is not a json file of EFT"):
        build("mpii/eft", tmp_path, tmp_path / "m", overwrite=True, labels="other.json")


def test_cocos_annotations_give_whole_people(tmp_path):
    truth = spin_npz.write_coco(tmp_path / "m")
    report = build("coco_pose/annotations", tmp_path, tmp_path / "m")["train"]
    assert report == {"read": 4, "kept": 3, "dropped": {"keypoints_2d: not all of the body": 1}}
    for record in read(tmp_path, "coco_pose/annotations", "train"):
        check_points(record, truth[record["key"]], spin_npz.COCO_OF_44)
        check_box(record, truth[record["key"]])


@pytest.mark.parametrize("codes", [False, True])
def test_mpiis_annotations_come_through(tmp_path, codes):
    truth = spin_npz.write_hourglass(tmp_path / "m", codes)
    assert build("mpii/annotations", tmp_path, tmp_path / "m")["train"]["kept"] == 3
    for record in read(tmp_path, "mpii/annotations", "train"):
        check_points(record, truth[record["key"]], spin_npz.MPII_OF_44)
        check_box(record, truth[record["key"]])


# Human3.6M's own files


@pytest.mark.parametrize("name", ["plain", "big_endian", "column_major", "compressed_file", "compressed_blocks"])
def test_cdf_files_of_another_writer_are_read(name):
    """tests/data/make_cdf.py made them with cdflib."""
    values = read_variable((DATA / f"{name}.cdf").read_bytes(), "Pose")
    np.testing.assert_array_equal(values, np.sin(np.arange(24.0)).reshape(1, 4, 6))


def test_damaged_cdf_files_are_refused():
    whole = (DATA / "plain.cdf").read_bytes()
    for size in range(0, len(whole), 7):
        with pytest.raises(ValueError, match="CDF"):
            read_variable(whole[:size], "Pose")
    with pytest.raises(ValueError, match="no variable 'Poes'"):
        read_variable(whole, "Poes")
    packed = (DATA / "compressed_file.cdf").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):  # any change is refused or harmless, and never another kind of error
        for data in (whole, packed):
            changed = bytearray(data)
            changed[rng.integers(len(data))] = rng.integers(256)
            with contextlib.suppress(ValueError):
                read_variable(bytes(changed), "Pose")


@pytest.mark.parametrize("aligned", [False, True])
def test_raw_frames_have_their_labels_or_those_before_as_published(tmp_path, aligned):
    labels = human36m.write(tmp_path / "m")
    report = build("human36m/raw", tmp_path, tmp_path / "m", aligned=aligned)["test"]
    assert report["read"] == report["kept"] == (2 if aligned else 3)
    for record in read(tmp_path, "human36m/raw", "test"):
        number = int(record["key"][-6:])
        frame = number if aligned else number - 1
        seen = record["keypoints_3d"][:, 3] > 0
        truth = {key: values[frame] for key, values in labels.items()}
        np.testing.assert_allclose(record["keypoints_3d"][seen, :3], truth["keypoints_3d"][seen, :3], atol=1e-5)
        points = [25 + row for row in human36m.GLOBAL if row < 19]
        check_points(record, truth, points)
        side = record["box/size"] * np.diff(record["image/source_box"][::2]) / record["image/width"]
        assert side == pytest.approx(0.9 * truth["box_size"], abs=2)


def test_without_masks_boxes_are_those_of_the_keypoints(tmp_path):
    labels = human36m.write(tmp_path / "m", boxes=False)
    build("human36m/raw", tmp_path, tmp_path / "m")
    record = read(tmp_path, "human36m/raw", "test")[0]
    points = labels["keypoints_2d"][0, [25 + row for row in human36m.GLOBAL if row < 19], :2]
    side = record["box/size"] * np.diff(record["image/source_box"][::2]) / record["image/width"]
    assert side == pytest.approx(1.2 * np.ptp(points, axis=0).max(), rel=1e-4)
    human36m.write(tmp_path / "n", boxes=False, points_2d=False)
    with pytest.raises(FileNotFoundError, match="needs D2_Positions or ground_truth_bb"):
        build("human36m/raw", tmp_path / "o", tmp_path / "n")
