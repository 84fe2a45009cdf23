"""Test splits leave nobody out whom others score: doubtful people are kept, marked and counted."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")
h5py = pytest.importorskip("h5py")

from array_record.python import array_record_module  # noqa: E402
from formats import emdb, hmr2_eval_npz, mlb_pitch, mpi_inf_3dhp, three_dpw  # noqa: E402
from formats.checks import read, source_points  # noqa: E402
from test_records import person  # noqa: E402

from data_pipelines import records  # noqa: E402
from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.report import Report  # noqa: E402
from data_pipelines.inspect import inspect  # noqa: E402
from data_pipelines.records.reader import import_tensorflow  # noqa: E402

KEPT = "doubtful, but kept: "
NOT_PROJECTED = "keypoints: 3-D ones do not project onto 2-D ones"


def doubts(folder, name, split):
    """The doubt of each record, by key."""
    return {record["key"]: record["doubt"] for record in read(folder, name, split)}


def changed_3dpw(points, number=2):
    """A sequence of 3DPW with other 2-D points of its first person's frames."""
    drawn = three_dpw.people()
    sequence = three_dpw.sequence({name: values[number] for name, values in drawn.items()}, "a", number)
    tracks = [track.copy() for track in sequence["poses2d"]]
    for frame, change in points.items():
        tracks[0][frame] = change(tracks[0][frame])
    return {"poses2d": tracks}


def one_point(points):
    return np.where(np.arange(18) == 4, points, 0)


def shifted(x):
    return lambda points: points + np.array([[x], [0], [0]])


CHANGES = {0: one_point, 1: shifted(5000.0), 2: shifted(60.0)}


@pytest.mark.parametrize("body", ["default", ""])
def test_3dpw_keeps_every_valid_frame_of_its_test_split(tmp_path, body):
    for split in ("train", "test"):
        three_dpw.write(tmp_path / split, (split,), **changed_3dpw(CHANGES, 0))
    report = build("three_dpw", tmp_path / "o", tmp_path / "test", body=body)["test"]
    assert report["dropped"] == {"camera: pose not valid": 3}  # 3DPW's own choice
    assert report["kept"] == 3
    found = list(doubts(tmp_path / "o", "three_dpw", "test").values())
    assert found == ["poses2d: no extent", "box: outside the image", NOT_PROJECTED if body else ""]
    noted = report["noted"]
    assert noted == {f"{KEPT}{doubt}": 1 for doubt in sorted(found) if doubt}
    if body:
        with pytest.raises(ValueError, match=r"(?s)No row of split 'train'.*poses2d: no extent"):
            build("three_dpw", tmp_path / "p", tmp_path / "train", body=body)


def test_the_box_of_a_single_point_is_that_of_the_body(tmp_path):
    truth = three_dpw.write(tmp_path / "m", ("test",), **changed_3dpw({0: one_point}, 0))["test"]
    build("three_dpw", tmp_path / "o", tmp_path / "m", body="default")
    record = read(tmp_path / "o", "three_dpw", "test")[0]
    points = truth["keypoints_2d"][:, :2]
    center = source_points(record, record["box/center"][None])[0]
    np.testing.assert_allclose(center, (points.min(0) + points.max(0)) / 2, atol=0.1)


def test_what_is_doubtful_is_printed_and_shown(tmp_path, capsys):
    three_dpw.write(tmp_path / "m", ("test",), **changed_3dpw(CHANGES, 0))
    build("three_dpw", tmp_path / "o", tmp_path / "m", body="default")
    assert f"1 noted: {KEPT}box: outside the image" in capsys.readouterr().out
    page = inspect("three_dpw", tmp_path / "o", images=1, body="default").read_text()
    assert "doubtful, but kept: box: outside the image" in page


def test_emdb_keeps_every_good_frame(tmp_path):
    data = emdb.sequence({name: values[0] for name, values in emdb.people().items()}, "")
    moved, boxes = data["kp2d"].copy(), copy.deepcopy(data["bboxes"])
    moved[0] += 30
    boxes["invalid_idxs"] = np.array([1])
    emdb.write(tmp_path / "m", kp2d=moved, bboxes=boxes)
    report = build("emdb/emdb1", tmp_path / "o", tmp_path / "m", body="default")["test"]
    assert report["dropped"] == {"frame: not good": 1}
    assert report["noted"] == {
        f"{KEPT}box: invalid, so that around the joints is taken": 1, f"{KEPT}kp2d: the body is not there": 1,
    }  # fmt: skip


def test_3dhp_keeps_every_valid_frame_of_its_test_split(tmp_path):
    mpi_inf_3dhp.write(tmp_path / "m")
    with h5py.File(tmp_path / "m" / "TS1" / "annot_data.mat", "a") as file:
        file["annot2"][0, 0, 3] = 500.0
    report = build("mpi_inf_3dhp", tmp_path / "o", tmp_path / "m", cameras=(0,))["test"]
    assert list(report["noted"]) == [f"{KEPT}annot2: a joint outside the image"]
    assert set(report["dropped"]) <= {"frame: not valid"}


def test_own_test_people_who_contradict_themselves_are_kept(tmp_path):
    contents, _ = mlb_pitch.document()
    contents = copy.deepcopy(contents)
    contents["people"][0]["keypoints_2d"] = [[x + 90, y, c] for x, y, c in contents["people"][0]["keypoints_2d"]]
    for split in ("train", "test"):
        mlb_pitch.write(tmp_path / "m", contents, split)
    report = build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    assert report["train"]["dropped"] == {NOT_PROJECTED: 1}
    assert report["test"] == {"read": 2, "kept": 2, "dropped": {}, "noted": {f"{KEPT}{NOT_PROJECTED}": 1}}


def test_evaluation_files_keep_people_with_a_single_point(tmp_path):
    points = np.zeros((3, 25, 3))
    points[:, 3] = [70, 80, 1]
    hmr2_eval_npz.write(tmp_path / "m", "coco_val", body_keypoints_2d=points, extra_keypoints_2d=None)
    report = build("hmr2_eval_npz/coco_val", tmp_path / "o", tmp_path / "m", scale_unit=1)["validation"]
    assert report["kept"] == 3
    assert report["noted"] == {f"{KEPT}keypoints: fewer than five, and no pose": 3}


def test_serious_problems_are_dropped_from_test_splits_too():
    report = Report()
    bad = person(key="bad", gender="x", **{"smpl/betas": np.full(10, 11.0)})
    doubtful = person(key="doubtful", **{"smpl/betas": np.full(10, 11.0)})
    kept = dict(report.keep("test", [person(), bad, doubtful], doubtful=True))
    assert set(kept) == {"one", "doubtful"}
    assert kept["doubtful"]["doubt"] == "smpl: betas out of range"
    counts = report.as_dict()["test"]
    assert counts["dropped"] == {"gender: not n, m or f": 1}
    assert counts["noted"] == {f"{KEPT}smpl: betas out of range": 1}
    strict = Report()
    assert set(dict(strict.keep("train", [person(), doubtful | {"smpl/betas": np.zeros(10)}]))) == {"one"}


def test_reasons_stand_in_one_order_whatever_was_first():
    rows = ["b", "a", "c", "c"]
    texts = set()
    for order in (rows, rows[::-1]):
        report = Report()
        assert not list(report.keep("train", order, progress=False))
        texts.add(str(report))
    (text,) = texts
    assert text.index("dropped: c") < text.index("dropped: a") < text.index("dropped: b")


def test_data_sets_of_earlier_versions_are_still_read(tmp_path):
    """They lack the fields `ADDED`."""
    mlb_pitch.write(tmp_path / "m")
    build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    new = read(tmp_path / "o", "mlb_pitch", "train")
    folder = next(Path(tmp_path / "o" / "mlb_pitch").iterdir())
    schema = json.loads((folder / "features.json").read_text())
    for name in records.ADDED:
        node = schema
        *groups, leaf = name.split("/")
        for group in groups:
            node = node["featuresDict"]["features"][group]
        del node["featuresDict"]["features"][leaf]
    (folder / "features.json").write_text(json.dumps(schema))
    example_class = import_tensorflow().train.Example
    for path in folder.glob("*.array_record*"):
        reader = array_record_module.ArrayRecordReader(str(path))
        examples = [example_class.FromString(data) for data in reader.read_all()]
        reader.close()
        path.unlink()
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for example in examples:
            for name in records.ADDED:
                del example.features.feature[name]
            writer.write(example.SerializeToString())
        writer.close()
    old = read(tmp_path / "o", "mlb_pitch", "train")
    for one, other in zip(old, new, strict=True):
        assert one["doubt"] == ""
        assert one["box/extent"].tolist() == one["image/source_size"].tolist() == [0, 0]
        np.testing.assert_array_equal(one["keypoints_3d"], other["keypoints_3d"])
