"""What is asked of every builder, given synthetic people whose truth is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines.records.reader import RecordReader
from hmr_jax.body.labelled import load_labelled_bodies


class BuilderTestCase(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own conventions; a subclass names DATASET_CLASS, SPLITS, OPTIONS, and what WRITEs files into a folder.

    Or it overrides `example_dir` and sets EXAMPLE_DIR to a fixture.
    """

    OPTIONS: dict = {"body": "default"}  # noqa: RUF012
    WRITE: Callable[[Path], object]

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, tmp_path_factory):
        folder = tmp_path_factory.mktemp("manual")
        request.cls.WRITE(folder)
        request.cls.EXAMPLE_DIR = str(folder)

    def _make_builder(self, config=None):
        return self.dataset_class(data_dir=self.tmp_dir, config=config, version=self.VERSION, **self.OPTIONS)


def read(data_dir, name: str, split: str) -> list[dict]:
    """All records of a split, ordered by key."""
    reader = RecordReader(data_dir, name, split)
    return sorted((reader[i] for i in range(len(reader))), key=lambda record: record["key"])


def source_points(record: dict, points: np.ndarray) -> np.ndarray:
    """(N, 2) px of the stored image -> px of the original image."""
    left, top, right, _ = record["image/source_box"].astype(np.float64)
    return (points + 0.5) * (right - left) / record["image/width"] + [left, top] - 0.5


def check_box(record: dict, truth: dict) -> None:
    """The box is the truth's, to 1e-3 px and 1e-5 of its side."""
    np.testing.assert_allclose(source_points(record, record["box/center"][None])[0], truth["box_center"], atol=1e-3)
    side = record["box/size"] * np.diff(record["image/source_box"][::2]) / record["image/width"]
    np.testing.assert_allclose(side, truth["box_size"], rtol=1e-5)


def check_truth(record: dict, truth: dict, *, translation: bool = True, keypoints_3d: bool = True, rel=1e-5) -> None:
    """The record's labels are the truth's, to 1e-5."""
    pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]])
    np.testing.assert_allclose(pose, truth["pose"], atol=rel)
    np.testing.assert_allclose(record["smpl/betas"], truth["betas"], atol=rel)
    if translation:
        np.testing.assert_allclose(record["smpl/translation"], truth["translation"], atol=rel, rtol=rel)
    if keypoints_3d:
        found, true = record["keypoints_3d"], truth["keypoints_3d"]
        seen = found[:, 3] > 0
        if not translation:
            found, true = found - found[39], true - true[39]
        np.testing.assert_allclose(found[seen, :3], true[seen, :3], atol=rel, rtol=rel)
    seen = record["keypoints_2d"][:, 2] > 0
    points = source_points(record, record["keypoints_2d"][seen, :2])
    np.testing.assert_allclose(points, truth["keypoints_2d"][seen, :2], atol=1e-3)


def check_labels_land_on_the_image(record: dict, body: str = "default") -> None:
    """Keypoints drawn from body parameters and camera are within 1 px of the stored 2-D ones."""
    pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]])[None]
    betas, translation = record["smpl/betas"][None], record["smpl/translation"][None]
    found = load_labelled_bodies(body).keypoints("n", pose, betas, translation)[0]
    points = found @ record["camera/intrinsics"].T
    seen = record["keypoints_2d"][:, 2] > 0
    assert seen.sum() > 4
    error = np.linalg.norm(points[seen, :2] / points[seen, 2:] - record["keypoints_2d"][seen, :2], axis=1)
    assert error.max() < 1, error
