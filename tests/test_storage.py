"""Building to and reading from gs://, against a stand-in that keeps epath's contract of an object store."""

import os

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from etils import epath  # noqa: E402
from etils.epath import backend, gpath  # noqa: E402
from formats import camerahmr_npz, hmr2_tars, three_dpw  # noqa: E402
from formats.checks import check_truth, read  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.sources import make_source  # noqa: E402
from hmr_jax.config import Config, DataConfig, DatasetConfig  # noqa: E402


class Bucket(backend._OsPathBackend):
    """gs:// in a folder. Like an object store it refuses to rename folders, and it knows no other way to its files."""

    def __init__(self, root):
        self.root = str(root)

    def _here(self, path):
        path = os.fspath(path)
        return path.replace("gs://", self.root + "/", 1) if path.startswith("gs://") else path

    def _there(self, path):
        return path.replace(self.root + "/", "gs://", 1)

    def _object(self, path):
        path = self._here(path)
        assert not os.path.isdir(path), f"{path}: an object store cannot rename a folder"
        return path

    def open(self, path, mode):
        return super().open(self._here(path), mode)

    def exists(self, path):
        return super().exists(self._here(path))

    def isdir(self, path):
        return super().isdir(self._here(path))

    def listdir(self, path):
        return super().listdir(self._here(path))

    def glob(self, path):
        return [self._there(found) for found in super().glob(self._here(path))]

    def walk(self, top, *, top_down=True, on_error=None):
        for folder, folders, files in super().walk(self._here(top), top_down=top_down, on_error=on_error):
            yield self._there(str(folder)), folders, files

    def makedirs(self, path, *, exist_ok=False, mode=None):
        super().makedirs(self._here(path), exist_ok=exist_ok)

    def mkdir(self, path, *, exist_ok=False, mode=None):
        super().mkdir(self._here(path), exist_ok=exist_ok)

    def rmtree(self, path):
        super().rmtree(self._here(path))

    def remove(self, path):
        super().remove(self._here(path))

    def rename(self, path, dst):
        super().rename(self._object(path), self._here(dst))

    def replace(self, path, dst):
        super().replace(self._object(path), self._here(dst))

    def copy(self, path, dst, overwrite):
        super().copy(self._here(path), self._here(dst), overwrite=overwrite)

    def stat(self, path):
        return super().stat(self._here(path))


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    root = tmp_path / "bucket"
    root.mkdir()
    fake = Bucket(root)
    monkeypatch.setattr(backend, "tf_backend", fake)
    monkeypatch.setattr(gpath, "_GCS_BACKENDS", frozenset({fake}))
    monkeypatch.setattr(gpath, "_is_zonal_gcs_bucket", lambda bucket: False)
    monkeypatch.setenv("HMR_JAX_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield root
    assert not (tmp_path / "gs:").exists()  # nobody took the address for a folder


def test_a_build_reads_from_and_writes_to_a_bucket(bucket):
    truth = three_dpw.write(bucket / "mine" / "3DPW", ("train",))
    report = build("three_dpw", "gs://mine/data", "gs://mine/3DPW", body="default")
    assert report["train"]["kept"] == 3
    assert [path.name for path in (bucket / "mine" / "data").iterdir()] == ["three_dpw"]
    assert epath.Path("gs://mine/data/three_dpw/1.0.0/build_report.json").exists()
    for record in read("gs://mine/data", "three_dpw", "train"):
        check_truth(record, truth["train"])
    build("three_dpw", "gs://mine/data", "gs://mine/3DPW", body="default", overwrite=True)
    with pytest.raises(FileExistsError, match=r"gs://mine/data/three_dpw/1\.0\.0 exists already"):
        build("three_dpw", "gs://mine/data", "gs://mine/3DPW", body="default")
    with pytest.raises(FileNotFoundError, match="There is no folder gs://mine/nowhere"):
        build("three_dpw", "gs://mine/other", "gs://mine/nowhere")


def test_tars_and_npz_files_are_read_from_a_bucket(bucket):
    hmr2_tars.write(bucket / "mine" / "tars")
    assert build("hmr2_tars/aic", "gs://mine/data", "gs://mine/tars", body="default")["train"]["kept"] == 6
    camerahmr_npz.write(bucket / "mine" / "npz")
    assert build("camerahmr_npz/aic", "gs://mine/data", "gs://mine/npz", body="default")["train"]["kept"] == 4


def test_training_reads_from_a_bucket_as_from_a_disk(bucket, tmp_path):
    three_dpw.write(tmp_path / "m", ("train",))
    batches = []
    for directory in ("gs://mine/data", str(tmp_path / "data")):
        build("three_dpw", directory, tmp_path / "m", body="default")
        data = DataConfig(directory=directory, datasets=(DatasetConfig("three_dpw"),), crop_size=32)
        batches.append(next(make_source(Config(batch_size=8, data=data), "train")(0)))
    for name, values in batches[0].items():
        np.testing.assert_array_equal(values, batches[1][name])
    with pytest.raises(
        FileNotFoundError, match=r"No data set 'three_dwp' in 'gs://mine/data'\. Did you mean three_dpw"
    ):
        make_source(
            Config(data=DataConfig(directory="gs://mine/data", datasets=(DatasetConfig("three_dwp"),))), "train"
        )
