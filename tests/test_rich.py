"""RICH in its own format becomes records of SMPL that say the same, seen by every camera."""

from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import checks, rich, smplx  # noqa: E402
from formats.checks import check_labels_land_on_the_image, check_truth, read  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.rich import Rich  # noqa: E402
from data_pipelines.builders.formats.rich_eval_npz import RichEvalNpz  # noqa: E402

FIT = 2e-3
"""Radians and betas by which a fit to an exact skin is off at most; keypoints are off by less than 0.1 mm."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, path = smplx.write(tmp_path_factory.mktemp("smplx"))
    return {"body": "default", "smplx": str(folder), "vertex_map": str(path)}


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    return folder, rich.write(folder)


class RichTest(checks.BuilderTestCase):
    DATASET_CLASS = Rich
    SPLITS = {"test": 4}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual, files):
        request.cls.EXAMPLE_DIR = str(manual[0])
        request.cls.OPTIONS = files


class RichEvalNpzTest(checks.BuilderTestCase):
    DATASET_CLASS = RichEvalNpz
    SPLITS = {"test": 2}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, tmp_path_factory, files):
        request.cls.EXAMPLE_DIR = str(tmp_path_factory.mktemp("rich_eval"))
        request.cls.OPTIONS = files
        rich.write_eval_npz(Path(request.cls.EXAMPLE_DIR))


def test_labels_come_through_and_land_on_the_image(manual, files, tmp_path):
    folder, person = manual
    # The file's relaxed hands are not those of the truth.
    report = build("rich", tmp_path, folder, hands=False, **files)
    assert report["test"] == {"read": 4, "kept": 4, "dropped": {}}
    records = read(tmp_path, "rich", "test")
    assert [record["key"] for record in records] == [
        f"{rich.SEQUENCE}-017-{frame:05d}-{camera:02d}" for frame in (17, 18) for camera in (0, 1)
    ]
    for record in records:
        check_labels_land_on_the_image(record)
        if record["key"].endswith("00"):
            check_truth(record, person, rel=FIT, keypoints_3d=False)
            np.testing.assert_allclose(record["keypoints_3d"], person["keypoints_3d"], atol=1e-4)
        assert (record["gender"], record["topology"]) == ("n", "hmr-default")


def test_hands_are_relaxed_unless_they_are_left_out(manual, files, tmp_path):
    folder, _ = manual
    build("rich", tmp_path / "relaxed", folder, **files)
    build("rich", tmp_path / "flat", folder, hands=False, **files)
    relaxed, straight = (read(tmp_path / name, "rich", "test")[0] for name in ("relaxed", "flat"))
    assert np.abs(relaxed["smpl/body_pose"][63:] - straight["smpl/body_pose"][63:]).max() < 0.5
    np.testing.assert_allclose(relaxed["keypoints_3d"][:, :3], straight["keypoints_3d"][:, :3], atol=0.01)


def test_bad_rows_are_dropped_and_counted(files, tmp_path):
    rich.write(tmp_path / "m", frames=(17, 18, 19, 20))
    rich.write(tmp_path / "m", frames=(18,), betas=np.full((1, 10), 50.0))
    rich.write(tmp_path / "m", frames=(19,), body_pose=np.full((1, 63), np.nan))
    images = tmp_path / "m" / "images" / "test" / rich.SEQUENCE
    (images / "cam_00" / "00020_00.bmp").unlink()
    (images / "cam_01" / "00020_01.png").write_bytes(b"not an image")
    report = build("rich", tmp_path / "o", tmp_path / "m", **files)
    assert report["test"]["dropped"] == {
        "betas: out of range": 2, "labels: not finite": 2, "image: missing": 1, "image: cannot be read": 1,
    }  # fmt: skip
    assert report["test"]["kept"] == 2


def test_what_is_missing_is_named(files, tmp_path):
    def without(number, file, text=None):
        folder = tmp_path / str(number)
        rich.write(folder)
        (folder / file).unlink()
        if text is not None:
            (folder / file).write_text(text)
        build("rich", tmp_path / "o", folder, **files)

    calibration = "scan_calibration/ParkingLot2/calibration"
    with pytest.raises(FileNotFoundError, match=r"gender\.json from RICH's toolkit"):
        without(0, "resource/gender.json")
    with pytest.raises(FileNotFoundError, match="cam_01 is of a camera without a calibration"):
        without(1, f"{calibration}/001.xml")
    with pytest.raises(ValueError, match=r"000\.xml is not a calibration file"):
        without(2, f"{calibration}/000.xml", "<a>")


def test_every_second_frame_can_be_taken(files, tmp_path):
    rich.write(tmp_path / "m", frames=(3, 6, 9))
    build("rich", tmp_path / "o", tmp_path / "m", stride=2, **files)
    keys = [record["key"] for record in read(tmp_path / "o", "rich", "test")]
    assert {key.split("-")[2] for key in keys} == {"00003", "00009"}
    for name in ("rich", "mpi_inf_3dhp"):
        with pytest.raises(ValueError, match="stride must be at least 1, not 0"):
            build(name, tmp_path / "none", tmp_path / "m", stride=0, **(files if name == "rich" else {}))
    assert not (tmp_path / "none").exists()


def test_bedlams_evaluation_file_gives_the_bodies_of_the_protocol(files, tmp_path):
    people = rich.write_eval_npz(tmp_path / "m")
    assert build("rich_eval_npz", tmp_path / "o", tmp_path / "m", **files)["test"]["kept"] == 2
    for row, record in enumerate(read(tmp_path / "o", "rich_eval_npz", "test")):
        pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]])
        np.testing.assert_allclose(pose, people["pose"][row], atol=FIT)
        np.testing.assert_allclose(record["smpl/betas"], people["betas"][row], atol=FIT)
        true = people["keypoints_3d"][row, :, :3]
        np.testing.assert_allclose(record["keypoints_3d"][:, :3], true - true[39], atol=1e-4)
        assert not record["smpl/has_translation"]
        assert not record["camera/has_intrinsics"]
        factor = np.diff(record["image/source_box"][::2]) / record["image/width"]
        assert record["box/size"] * factor == pytest.approx(people["box_size"][row], rel=1e-5)
    rich.write_eval_npz(tmp_path / "m", gender=np.array(["robot", "f"]))
    report = build("rich_eval_npz", tmp_path / "p", tmp_path / "m", **files)
    assert report["test"]["dropped"] == {"gender: not known": 1}
