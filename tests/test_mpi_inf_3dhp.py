"""MPI-INF-3DHP in its own formats becomes records that say the same."""

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("h5py")

from formats import checks, mpi_inf_3dhp  # noqa: E402
from formats.checks import read, source_points  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.mpi_inf_3dhp import MpiInf3dhp  # noqa: E402


class MpiInf3dhpTest(checks.BuilderTestCase):
    DATASET_CLASS = MpiInf3dhp
    SPLITS = {"train": 6, "test": 2}  # noqa: RUF012
    OPTIONS = {"cameras": (0, 8)}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual[0])


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpi")
    return folder, mpi_inf_3dhp.write(folder)


def test_joints_come_through_unchanged_and_land_on_the_image(manual, tmp_path):
    folder, person = manual
    report = build("mpi_inf_3dhp", tmp_path, folder, cameras=(0, 8))
    assert report["train"] == {"read": 6, "kept": 6, "dropped": {}}
    assert report["test"] == {"read": 3, "kept": 2, "dropped": {"frame: not valid": 1}}
    records = read(tmp_path, "mpi_inf_3dhp", "train")
    assert [record["key"] for record in records] == [
        f"S1-Seq1-{camera}-{frame:06d}" for camera in (0, 8) for frame in (0, 10, 20)
    ]
    seen = mpi_inf_3dhp.IN_44
    for record in records + read(tmp_path, "mpi_inf_3dhp", "test"):
        assert np.flatnonzero(record["keypoints_2d"][:, 2]).tolist() == sorted(seen)
        points = source_points(record, record["keypoints_2d"][seen, :2])
        np.testing.assert_allclose(points, person["keypoints_2d"][seen, :2], atol=1e-3)
        assert not record["smpl/has_pose"]
    for record in records:
        np.testing.assert_allclose(record["keypoints_3d"][seen], person["keypoints_3d"][seen], atol=1e-5)
        projected = record["keypoints_3d"][seen, :3] @ record["camera/intrinsics"].T
        pixels = projected[:, :2] / projected[:, 2:]
        np.testing.assert_allclose(pixels, record["keypoints_2d"][seen, :2], atol=0.01)
    pelvis = person["keypoints_3d"][39, :3]
    relative = read(tmp_path, "mpi_inf_3dhp", "test")[0]["keypoints_3d"][seen, :3]
    np.testing.assert_allclose(relative, person["keypoints_3d"][seen, :3] - pelvis, atol=1e-5)


def test_bad_rows_are_dropped_and_counted(tmp_path):
    mpi_inf_3dhp.write(tmp_path / "m", train={("annot2", 0, 0): 500.0, ("annot3", 0, 10): np.nan})
    report = build("mpi_inf_3dhp", tmp_path / "o", tmp_path / "m", cameras=(0, 1, 8))
    assert report["train"]["dropped"] == {
        "image: missing": 3, "annot2: a joint outside the image": 1, "labels: not finite": 1,
    }  # fmt: skip


def test_damaged_files_are_named(tmp_path):
    mpi_inf_3dhp.write(tmp_path / "m")
    files = (("S1/Seq1/annot.mat", "annot.mat of"), ("TS1/annot_data.mat", "annot_data.mat of"))
    for name, message in (*files, ("S1/Seq1/camera.calibration", "camera.calibration of")):
        path = tmp_path / "m" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
        with pytest.raises(ValueError, match=message):
            build("mpi_inf_3dhp", tmp_path / path.name, tmp_path / "m", cameras=(8,))
        path.write_bytes(whole)
