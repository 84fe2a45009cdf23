"""Data sets of keypoints get bodies, and people whose keypoints make no sound body are left out with a reason."""

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from dots import reading, take, with_data
from formats import mlb_pitch
from formats.checks import read
from formats.people import people

from data_pipelines import records
from data_pipelines.build import build
from data_pipelines.builders.formats import fitted_records
from data_pipelines.builders.formats.fitted_records import HMR2_CAMERA, MISTAKEN, FittedRecords
from data_pipelines.builders.labels.fits import EXCHANGED, Fitted, RecordFitter, Rules, camera_of_record, offsets
from data_pipelines.fit import fit, main
from data_pipelines.sources import make_source
from hmr_jax import cli
from hmr_jax.body.joints import KEYPOINTS_44_FLIP
from hmr_jax.body.labelled import load_labelled_bodies
from hmr_jax.config import DatasetConfig

COCO_OF_44 = [0, 16, 15, 18, 17, 34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25]


def record(row=0, seen=COCO_OF_44, camera=True, solid=False, **changes):
    """One of `people`, with some keypoints."""
    person = {name: values[row] for name, values in people().items()}
    points = np.zeros((44, 3))
    points[seen] = person["keypoints_2d"][seen]
    around = person["keypoints_3d"] - np.append(person["keypoints_3d"][39, :3], 0)
    made = records.encode(
        person["image"], key=f"{row}", dataset="d", box_center=person["box_center"], box_size=float(person["box_size"]),
        keypoints_2d=points, intrinsics=person["intrinsics"] if camera else None,
        keypoints_3d=around if solid else None,
    )  # fmt: skip
    return made | changes


def off_at(made, joint, shift):
    points = made["keypoints_2d"].copy()
    points[joint, :2] += shift
    return made | {"keypoints_2d": points}


def exchanged(row):
    made = record(row)
    return made | {"keypoints_2d": made["keypoints_2d"][KEYPOINTS_44_FLIP]}


def error(fitted, row):
    """MPJPE, mm."""
    made, true = fitted.record, people()["keypoints_3d"][row, :, :3]
    pose = np.concatenate([made["smpl/global_orient"], made["smpl/body_pose"]])[None]
    mine = load_labelled_bodies("default").keypoints("n", pose, made["smpl/betas"][None])[0]
    return 1000 * np.linalg.norm((mine - mine[39]) - (true - true[39]), axis=1).mean()


@pytest.fixture(scope="module")
def fitted():
    """Name of a case: what came of it; all are fitted together."""
    nobody = record(2)
    nobody["keypoints_2d"] = nobody["keypoints_2d"] * [1, 1, 0]
    cases = {
        "sound": record(0),
        "solid": record(1, solid=True),
        "off": off_at(record(5), 31, 500),
        "three": record(2, COCO_OF_44[:3]),
        "nobody": nobody,
        "scattered": off_at(record(3), COCO_OF_44[::2], np.random.default_rng(0).normal(0, 60, (9, 2))),
        "no camera": record(0, camera=False),
        "exchanged": exchanged(3),
        "exchanged too": exchanged(4),
    }
    found = RecordFitter(load_labelled_bodies("default"), Rules())(list(cases.values()))
    return dict(zip(cases, found, strict=True))


def test_keypoints_give_a_body_with_a_camera(fitted):
    found = fitted["sound"]
    assert (found.reason, found.mistaken, found.assumed) == ("", 0, False)
    made = found.record
    assert made["smpl/has_pose"] == made["smpl/has_betas"] == made["smpl/has_translation"] == 1
    assert made["topology"] == "hmr-default"
    assert not records.problems(made)
    px = offsets(made["keypoints_2d"], made["keypoints_3d"][:, :3], made["camera/intrinsics"])
    assert np.isnan(px).sum() == 44 - 17
    assert np.nanmedian(px) < 0.01 * made["box/size"]
    assert error(found, 0) < 120
    np.testing.assert_allclose(made["smpl/translation"], people()["translation"][0], rtol=0.15, atol=0.15)


def test_keypoints_in_space_make_it_exact_and_stay(fitted):
    found = fitted["solid"]
    assert not found.reason
    assert error(found, 1) < 25
    np.testing.assert_array_equal(found.record["keypoints_3d"], record(1, solid=True)["keypoints_3d"])


def test_a_keypoint_far_off_becomes_absent(fitted):
    found = fitted["off"]
    assert (found.reason, found.mistaken) == ("", 1)
    assert found.record["keypoints_2d"][31, 2] == 0
    assert found.record["keypoints_2d"][32, 2] == 1
    assert error(found, 5) < 150


@pytest.mark.parametrize("case", ["three", "nobody"])
def test_people_of_few_keypoints_are_not_fitted(fitted, case):
    assert fitted[case].reason == "keypoints: fewer than 8"
    assert not fitted[case].record["smpl/has_pose"]


def test_keypoints_of_no_body_are_refused(fitted):
    assert fitted["scattered"].reason.startswith("fit: ")


@pytest.mark.parametrize("case", ["exchanged", "exchanged too"])
def test_exchanged_sides_are_found_out_where_the_body_is_unlikely(fitted, case):
    assert fitted[case].reason == EXCHANGED


def test_without_a_camera_one_is_assumed(fitted):
    made = fitted["no camera"].record
    assert fitted["no camera"].assumed
    assert made["camera/intrinsics"][0, 0] == pytest.approx(5000 / 256 * made["box/size"])  # HMR2.0's
    cut = record(camera=False, **{
        "image/source_size": np.float32([640, 480]), "image/source_box": np.float32([100, 50, 420, 370]),
    })  # fmt: skip
    factor = 160 / 320
    camera = camera_of_record(cut, "default")
    assert camera[0, 0] == camera[1, 1] == pytest.approx(factor * 400 / np.tan(np.radians(30)), rel=1e-6)
    np.testing.assert_allclose(camera[:2, 2], [factor * 220 - 0.5, factor * 190 - 0.5])
    assert camera_of_record(cut, "hmr2")[0, 0] == pytest.approx(5000 / 256 * cut["box/size"])
    np.testing.assert_array_equal(camera_of_record(record(), "hmr2"), record()["camera/intrinsics"])


def test_a_fitted_data_set_trains_as_any_other(tmp_path, capsys):
    mlb_pitch.write(tmp_path / "m")
    build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    cli.run(main, "fit", ["mlb_pitch", "--data-dir", str(tmp_path / "o"), "--images", "2"])
    assert str(tmp_path / "o" / "mlb_pitch_fitted.html") in capsys.readouterr().out
    before, after = (read(tmp_path / "o", name, "train") for name in ("mlb_pitch", "mlb_pitch_fitted"))
    assert [one["key"] for one in after] == [one["key"] for one in before]
    for one, other in zip(after, before, strict=True):
        assert one["dataset"] == "mlb_pitch_fitted"
        assert one["image/encoded"] == other["image/encoded"]
        assert one["smpl/has_pose"] == 1
    report = json.loads(next((tmp_path / "o" / "mlb_pitch_fitted").glob("*/fit_report.json")).read_text())["train"]
    assert report["accepted"] == 1
    assert 0 < report["distance, % of the box"]["50 %"] < 1
    page = (tmp_path / "o" / "mlb_pitch_fitted.html").read_text()
    assert "Accepted, the best first: train" in page
    config = with_data(reading(tmp_path / "o"), datasets=(DatasetConfig("mlb_pitch_fitted"),))
    (batch,) = take(make_source(config, "train"), 1)
    assert batch["has_pose"].all()
    assert np.abs(batch["pose"]).max() > 0
    with pytest.raises(FileExistsError, match="add --overwrite"):
        fit("mlb_pitch", tmp_path / "o")


@pytest.fixture
def several(tmp_path, monkeypatch):
    """A data set of four people, in blocks of two that are "fitted" in no time; how many were so far."""
    contents, _ = mlb_pitch.document()
    first = contents["people"][0]
    contents["people"] = [first | {"id": f"p{number}"} for number in range(4)]
    mlb_pitch.write(tmp_path / "m", contents)
    build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    monkeypatch.setattr(fitted_records, "BLOCK_PEOPLE", 2)
    counts = []

    def quick(self, found):
        counts.append(len(found))
        if counts == [2, 2]:
            raise KeyboardInterrupt
        labels = dict.fromkeys(("smpl/has_pose", "smpl/has_betas", "smpl/has_translation"), np.float32(1))
        place = {"topology": "hmr-default"}
        bad = ["", "fit: bad"] if len(counts) == 1 else ["", ""]
        return [
            Fitted(one | labels | place | {"smpl/translation": one["keypoints_3d"][39, :3]}, why, 1, True)
            for one, why in zip(found, bad, strict=True)
        ]

    monkeypatch.setattr(FittedRecords, "fit", quick)
    return tmp_path / "o", counts


def test_an_interrupted_fit_goes_on_with_the_blocks_that_are_left(several):
    folder, counts = several
    with pytest.raises(KeyboardInterrupt):
        fit("mlb_pitch", folder, images=0)
    report = fit("mlb_pitch", folder, images=0)["train"]
    assert counts == [2, 2, 2]
    assert (report["read"], report["kept"], report["dropped"]) == (4, 3, {"fit: bad": 1})
    assert report["noted"] == {MISTAKEN: 3}
    assert HMR2_CAMERA not in report["noted"]  # the size of the images is known
    (folder / "mlb_pitch_fitted.html").unlink()  # killed before the page was whole
    fit("mlb_pitch", folder, images=0)
    assert counts == [2, 2, 2]
    assert (folder / "mlb_pitch_fitted.html").exists()


def test_records_that_have_a_body_keep_it(monkeypatch):
    class Nothing:
        topology = "hmr-default"

        def __call__(self, found):
            return [Fitted(one, "fitted") for one in found]

    monkeypatch.setattr(fitted_records, "_fitter", lambda body, rules: Nothing())
    has = {"smpl/has_pose": np.float32(1)}
    found = FittedRecords.fit(
        type("Builder", (), {"_body": "", "_rules": None})(),
        [record(), record(**has, topology="hmr-default"), record(**has, topology="smpl")],
    )
    assert [one.reason for one in found] == ["fitted", "", "fitted"]


def test_options_of_no_use_are_refused(tmp_path):
    for wrong in ({"camera": "exif"}, {"sigma": 0.0}, {"fewest": 3}):
        with pytest.raises(ValueError, match="must be"):
            Rules(**wrong)
    with pytest.raises(FileNotFoundError, match="No data set 'coco_pose/annotations'"):
        fit("coco_pose/annotations", tmp_path)
