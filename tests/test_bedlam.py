"""BEDLAM in its own format becomes records that say the same, in SMPL."""

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import bedlam, checks, smplx  # noqa: E402
from formats.checks import check_labels_land_on_the_image, check_truth, read, source_points  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets.bedlam import Bedlam  # noqa: E402

FIT = 2e-3
"""Radians and betas by which a fit to an exact skin is off at most; vertices are off by micrometres."""


class BedlamTest(checks.BuilderTestCase):
    DATASET_CLASS = Bedlam
    SPLITS = {"train": 4}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual)


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bedlam")
    bedlam.write(folder, "smpl")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, path = smplx.write(tmp_path_factory.mktemp("smplx"))
    return {"body": "default", "smplx": str(folder), "vertex_map": str(path)}


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_labels_come_through_and_land_on_the_image(tmp_path, files, kind):
    truth = bedlam.write(tmp_path / "m", kind)
    report = build("bedlam", tmp_path / "o", tmp_path / "m", **files)
    assert report["train"] == {"read": 4, "kept": 4, "dropped": {}}
    records = read(tmp_path / "o", "bedlam", "train")
    assert [record["key"].split("/")[0] for record in records] == [bedlam.SCENE] * 2 + [bedlam.CLOSEUP] * 2
    for record, person in zip(
        records, (dict(zip(truth, row, strict=True)) for row in zip(*truth.values(), strict=True)), strict=True
    ):
        exact = kind == "smpl"
        if exact:
            check_truth(record, person)
        else:
            check_truth(record, person, rel=FIT, keypoints_3d=False)
            np.testing.assert_allclose(record["keypoints_3d"], person["keypoints_3d"], atol=1e-4)
        check_labels_land_on_the_image(record)
        assert (record["gender"], record["topology"]) == ("n", "hmr-default")


def test_close_ups_are_turned_upright(tmp_path, files):
    truth = bedlam.write(tmp_path / "m", "smpl")
    build("bedlam", tmp_path / "o", tmp_path / "m", body="default", scenes=bedlam.CLOSEUP)
    import io

    from PIL import Image

    for row, record in enumerate(read(tmp_path / "o", "bedlam", "train")):
        image = np.asarray(Image.open(io.BytesIO(record["image/encoded"])), float)
        columns, rows = np.meshgrid(*[np.arange(20, 100, 7)] * 2)
        pixels = np.stack([columns.ravel(), rows.ravel()], 1)
        original = np.rint(source_points(record, pixels)).astype(int)
        inside = ((original >= 0) & (original < 160)).all(1)
        stored = image[pixels[inside, 1], pixels[inside, 0]]
        upright = truth["image"][2 + row].astype(float)[original[inside, 1], original[inside, 0]]
        assert np.abs(stored - upright).mean() < 12


def test_camerahmrs_release_has_our_keypoints(tmp_path, files):
    bedlam.write(tmp_path / "m", "smplx", columns=44)
    assert build("bedlam", tmp_path / "o", tmp_path / "m", **files)["train"]["kept"] == 4


def test_bad_rows_are_dropped_and_counted(tmp_path, files):
    people = {name: values[:2] for name, values in smplx.showable().items()}
    good = bedlam.table(people, "smpl", 127)
    twice = {name: np.concatenate([values] * 4) for name, values in good.items()}
    twice["shape"][0, 3] = 113
    twice["pose_cam"][1, 5] = np.nan
    twice["gtkps"][2, :, 0] += 20
    twice["imgname"][3] = "seq_000009/seq_000009_0000.png"
    twice["trans_cam"][4] -= 100
    bedlam.write(tmp_path / "m", "smpl", **twice)
    report = build("bedlam", tmp_path / "o", tmp_path / "m", body="default", scenes=[bedlam.SCENE])
    assert report["train"]["dropped"] == {
        "betas: out of range": 1, "labels: not finite": 1, "gtkps: the body is not there": 2, "image: missing": 1,
    }  # fmt: skip
    assert report["train"]["kept"] == 3


def test_what_is_missing_is_named(tmp_path, files):
    bedlam.write(tmp_path / "m", "smplx")
    with pytest.raises(ValueError, match="option smplx=PATH"):
        build("bedlam", tmp_path / "o", tmp_path / "m", body="default")
    with pytest.raises(FileNotFoundError, match="scene nowhere"):
        build("bedlam", tmp_path / "o", tmp_path / "m", scenes=["nowhere"], **files)
    path = tmp_path / "m" / "training_labels" / "all_npz_12_training" / f"{bedlam.SCENE}.npz"
    np.savez(path, imgname=np.array(["a"]))
    with pytest.raises(ValueError, match="lacks center, scale"):
        build("bedlam", tmp_path / "o", tmp_path / "m", **files)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a readable npz"):
        build("bedlam", tmp_path / "o", tmp_path / "m", **files)
