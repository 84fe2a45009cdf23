"""Flat npz label files become records that say the same; the unit of their boxes is found out."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from etils import epath  # noqa: E402
from formats import camerahmr_npz, checks, hmr2_eval_npz, three_dpw  # noqa: E402
from formats.checks import check_box, check_labels_land_on_the_image, check_truth, read  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders import base  # noqa: E402
from data_pipelines.builders.formats import hmr2_eval_npz as formats_hmr2_eval_npz  # noqa: E402
from data_pipelines.builders.formats import npz_rows  # noqa: E402
from data_pipelines.builders.formats.camerahmr_npz import CamerahmrNpz  # noqa: E402
from data_pipelines.builders.formats.hmr2_eval_npz import Hmr2EvalNpz  # noqa: E402
from data_pipelines.sources import make_source  # noqa: E402
from hmr_jax.body import load_body_model  # noqa: E402
from hmr_jax.body.labelled import LabelledBodies  # noqa: E402
from hmr_jax.evaluation import commands  # noqa: E402
from hmr_jax.evaluation.commands import Settings  # noqa: E402


class CamerahmrNpzTest(checks.BuilderTestCase):
    DATASET_CLASS = CamerahmrNpz
    BUILDER_CONFIG_NAMES_TO_TEST = ["aic"]  # noqa: RUF012
    SPLITS = {"train": 4}  # noqa: RUF012
    WRITE = staticmethod(camerahmr_npz.write)


class Hmr2EvalNpzTest(checks.BuilderTestCase):
    DATASET_CLASS = Hmr2EvalNpz
    BUILDER_CONFIG_NAMES_TO_TEST = ["3dpw_test"]  # noqa: RUF012
    SPLITS = {"test": 3}  # noqa: RUF012
    WRITE = staticmethod(partial(hmr2_eval_npz.write, file="3dpw_test"))


def test_camerahmr_comes_through_unchanged_and_lands_on_the_image(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_rows, "BLOCK_ROWS", 3)  # two blocks
    truth = camerahmr_npz.write(tmp_path / "m")
    report = build("camerahmr_npz/aic", tmp_path, tmp_path / "m", body="default")
    assert report == {"train": {"read": 4, "kept": 4, "dropped": {}}}
    records = read(tmp_path, "camerahmr_npz/aic", "train")
    assert [record["key"] for record in records] == sorted(truth)
    for record in records:
        check_truth(record, truth[record["key"]])
        check_labels_land_on_the_image(record)
        check_box(record, truth[record["key"]])


@pytest.mark.parametrize("file", ["3dpw_test", "h36m_val_p2", "coco_val"])
def test_evaluation_files_come_through_unchanged(tmp_path, file):
    truth = hmr2_eval_npz.write(tmp_path / "m", file)
    report = build(f"hmr2_eval_npz/{file}", tmp_path, tmp_path / "m", body="default")
    (split,) = report
    assert report[split] == {"read": 3, "kept": 3, "dropped": {}}
    for record in read(tmp_path, f"hmr2_eval_npz/{file}", split):
        person = truth[record["key"]]
        # As in HMR2.0's evaluation: boxes grow to 192:256, and one number is width and height.
        check_box(record, person | {"box_size": person["box_size"] * 256 / 192})
        shape = record["box/extent"] / record["box/size"] * 256 / 192
        np.testing.assert_allclose(shape, [1, 0.7 if file == "coco_val" else 1], rtol=1e-5)
        if file == "3dpw_test":
            check_truth(record, person, translation=False)
            assert record["gender"] == "mfm"[int(record["key"][-1])]
        else:
            assert not record["smpl/has_pose"]
            assert record["topology"] == ""
        expected = 0 if file == "coco_val" else 19
        assert (record["keypoints_3d"][:, 3] > 0).sum() == expected


def test_body_joints_in_3d_are_distrusted_as_in_hmr2(tmp_path):
    keypoints = np.ones((3, 25, 4))
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", body_keypoints_3d=keypoints)
    build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m")
    record = read(tmp_path, "hmr2_eval_npz/3dpw_test", "test")[0]
    assert np.flatnonzero(record["keypoints_3d"][:25, 3]).tolist() == [0, *range(15, 25)]


# The gender of bodies

SCALED = ("v_template", "shapedirs", "posedirs")


@pytest.fixture
def bodies_by_gender(monkeypatch):
    """Bodies of three sizes; the files' 3-D keypoints are of those that the truth says."""
    plain = load_body_model()
    made = LabelledBodies("default")
    made._models = {
        gender: replace(plain, **{name: np.float32(size) * getattr(plain, name) for name in SCALED})
        for gender, size in (("n", 1.0), ("m", 1.1), ("f", 0.9))
    }
    for module in (formats_hmr2_eval_npz, base):
        monkeypatch.setattr(module, "load_labelled_bodies", lambda source: made)
    return made


def keypoints_of(bodies, genders):
    """(3, 19, 4) 3-D points of the first people as bodies of these genders, as ProHMR's script makes them."""
    drawn = hmr2_eval_npz.people()
    points = np.ones((3, 19, 4))
    for row, gender in enumerate(genders):
        points[row, :, :3] = bodies.keypoints(gender, drawn["pose"][row : row + 1], drawn["betas"][row : row + 1])[
            0, 25:
        ]
    return points


@pytest.mark.parametrize(
    ("column", "noted"),
    [
        (np.array(["m", "f", "m"]), {}),
        (np.array(["m", "m", "m"]), {"gender: f by the 3-D keypoints, m in the file": 1}),
        (np.array([b"f", b"f", b"f"]), {"gender: m by the 3-D keypoints, f in the file": 2}),
        (None, {f"gender: {word} by the 3-D keypoints, none in the file": n for word, n in (("m", 2), ("f", 1))}),
    ],
)  # fmt: skip
def test_a_wrong_gender_is_found_by_the_keypoints(tmp_path, bodies_by_gender, column, noted):
    points = keypoints_of(bodies_by_gender, "mfm")
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", gender=column, extra_keypoints_3d=points)
    report = build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m", body="default", workers=1)["test"]
    assert report.get("noted", {}) == noted
    assert [record["gender"] for record in read(tmp_path, "hmr2_eval_npz/3dpw_test", "test")] == ["m", "f", "m"]


def test_keypoints_of_no_body_are_doubtful(tmp_path, bodies_by_gender):
    points = keypoints_of(bodies_by_gender, "mfm")
    points[1, :12, :3] *= 1.3
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", extra_keypoints_3d=points)
    report = build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m", body="default", workers=1)["test"]
    assert report["noted"] == {"doubtful, but kept: keypoints_3d: not those of the labelled body": 1}


def test_without_a_gender_the_body_is_said_to_be_neutral(tmp_path):
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", gender=None)
    report = build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m")["test"]
    assert report["noted"] == {"gender: none in the file, so that the body is taken as neutral": 3}


@pytest.mark.parametrize("protocol", ["3dpw-j19@hmr2_eval_npz/3dpw_test", "3dpw-j19-keypoints"])
@pytest.mark.parametrize("column", [None, np.array(["m"] * 3)])
def test_hmr2s_truth_is_the_keypoints_of_the_file(tmp_path, bodies_by_gender, protocol, column, capsys):
    points = keypoints_of(bodies_by_gender, "mfm")
    truth = hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", extra_keypoints_3d=points, gender=column)
    build("hmr2_eval_npz/3dpw_test", tmp_path / "o", tmp_path / "m")
    drawn = hmr2_eval_npz.people()
    pose, betas = drawn["pose"][:3] + np.float32(0.1), drawn["betas"][:3]
    np.savez(tmp_path / "mine.npz", keys=list(truth), topology="hmr-default", pose=pose, betas=betas)

    # The labels are of the built-in body here, not of SMPL.
    def source(config, split, examples, topology):
        return make_source(config, split, examples=examples, topology="smpl")

    settings = Settings(str(tmp_path / "o"), "", 0, 3, None, False, tmp_path / "result.json", False)
    (outcome,) = commands.run([], [tmp_path / "mine.npz"], [protocol], settings, source)
    predicted = bodies_by_gender.keypoints("n", pose, betas)
    chosen = [*range(25, 38), 43]  # 4D-Humans' evaluation, with the root 39
    errors = predicted[:, chosen] - predicted[:, 39:40] - (points[:, np.array(chosen) - 25, :3] - points[:, 14:15, :3])
    assert outcome.result.metrics["mpjpe"] == pytest.approx(1000 * np.linalg.norm(errors, axis=2).mean(), rel=1e-4)
    assert "truth labelled points" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["m", "3dpw"])
def test_3dpws_own_files_tell_the_gender(tmp_path, where):
    drawn = hmr2_eval_npz.people()
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", gender=np.array(["m"] * 3))
    sequence = three_dpw.sequence({name: values[0] for name, values in drawn.items()}, "outdoors_00", 0)
    own = [drawn["betas"][0].astype(float), np.r_[drawn["betas"][1], np.zeros(290)], np.zeros(10)]
    path = tmp_path / where / "sequenceFiles" / "test" / "outdoors_00.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(three_dpw.python2_pickle(sequence | {"betas": own, "genders": ["f", "m", "f"]}))
    if where == "3dpw":
        (tmp_path / "m" / "images").rename(tmp_path / "images")
        (tmp_path / "images" / "imageFiles").rename(tmp_path / where / "imageFiles")
    options = {} if where == "m" else {"images": str(tmp_path / where)}
    report = build("hmr2_eval_npz/3dpw_test", tmp_path / "o", tmp_path / "m", **options)["test"]
    assert report["noted"] == {"gender: f by 3DPW's own file, m in the file": 1}  # the third is not among them
    assert [record["gender"] for record in read(tmp_path / "o", "hmr2_eval_npz/3dpw_test", "test")] == ["f", "m", "m"]


# The unit of boxes


@pytest.mark.parametrize("unit", [1, 200])
@pytest.mark.parametrize("file", ["3dpw_test", "h36m_val_p2"])
def test_the_unit_of_boxes_is_found_out(tmp_path, unit, file):
    truth = hmr2_eval_npz.write(tmp_path / "m", file, scale=hmr2_eval_npz.people()["box_size"][:3] / unit)
    build(f"hmr2_eval_npz/{file}", tmp_path, tmp_path / "m")
    for record in read(tmp_path, f"hmr2_eval_npz/{file}", "test"):
        person = truth[record["key"]]
        check_box(record, person | {"box_size": person["box_size"] * 256 / 192})


@pytest.mark.parametrize(
    ("scale", "shape", "grown"),
    [
        ((40, 80), (192, 256), 80), ((60, 80), (192, 256), 80), ((80, 80), (192, 256), 80 * 4 / 3),
        ((90, 30), (192, 256), 120), (50, (192, 256), 50 * 4 / 3), ((40, 80), None, 80), (50, None, 50),
        ((40, 80), (1, 1), 80), ((40, 80), (256, 192), 80 * 4 / 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", [1, 200])
def test_boxes_grow_as_in_hmr2s_evaluation(tmp_path, scale, shape, grown, unit):
    hmr2_eval_npz.write(
        tmp_path / "m", "3dpw_test", scale=np.tile(np.array(scale, np.float32) / unit, (3, 1)).squeeze()
    )
    build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m", scale_unit=unit, box_shape=shape)
    for record in read(tmp_path, "hmr2_eval_npz/3dpw_test", "test"):
        px = np.diff(record["image/source_box"][::2]).item() / record["image/width"]
        assert record["box/size"] * px == pytest.approx(grown, rel=1e-5)
        wanted = np.broadcast_to(scale, 2) if shape or np.ndim(scale) else [0, 0]
        np.testing.assert_allclose(record["box/extent"] * px, wanted, rtol=1e-5)


def test_a_shape_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="box_shape must be a width and a height"):
        build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path, box_shape=192)


def test_a_unit_that_fits_nothing_is_refused_unless_it_is_said(tmp_path):
    scale = hmr2_eval_npz.people()["box_size"][:3] / 20
    hmr2_eval_npz.write(tmp_path / "m", "3dpw_test", scale=scale)
    with pytest.raises(
        ValueError, match=r"unit of 'scale' in .*3dpw_test\.npz is neither px nor 200 px .*scale_unit=1"
    ):
        build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m")
    build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "m", scale_unit=20)
    scale = np.full(3, 17.0)  # px or 200 px: a box could be either, and there are no keypoints to ask
    hmr2_eval_npz.write(tmp_path / "n", "3dpw_test", scale=scale, body_keypoints_2d=None)
    with pytest.raises(ValueError, match=r"The unit of 'scale'"):
        build("hmr2_eval_npz/3dpw_test", tmp_path / "o", tmp_path / "n", overwrite=True, limit=100)


def test_without_keypoints_the_size_decides():
    assert npz_rows.scale_unit(np.array([150.0, 300]), None, "a") == 1
    assert npz_rows.scale_unit(np.array([[0.9, 0.5], [2, 1]]), None, "a") == 200
    with pytest.raises(ValueError, match="neither"):
        npz_rows.scale_unit(np.array([17.0]), None, "a")


# Bad input


def test_bad_rows_are_dropped_and_counted(tmp_path):
    drawn = hmr2_eval_npz.people()
    shape = drawn["betas"][[0, 1, 2, 2]].astype(np.float32)
    shape[0, 3] = np.nan
    shape[3, 0] = 80
    wrong = drawn["translation"][[0, 1, 2, 2]].astype(np.float32)
    wrong[1, 0] += 2
    camerahmr_npz.write(tmp_path / "m", shape=shape, cam_t=wrong)
    report = build("camerahmr_npz/aic", tmp_path, tmp_path / "m", body="default")["train"]
    assert report == {
        "read": 4,
        "kept": 1,
        "dropped": {
            "labels: not finite": 1,
            "keypoints: 3-D ones do not project onto 2-D ones": 1,
            "smpl: height out of range": 1,
        },
    }
    hmr2_eval_npz.write(tmp_path / "n", "3dpw_test", gender=np.array(["m", "woman", "f"]))
    next((tmp_path / "n" / "images").rglob("image_00002.jpg")).unlink()
    report = build("hmr2_eval_npz/3dpw_test", tmp_path, tmp_path / "n")["test"]
    assert report["dropped"] == {"gender: not known": 1, "image: missing": 1}


def test_files_of_another_kind_are_refused_in_one_sentence(tmp_path):
    camerahmr_npz.write(tmp_path / "a", gtkps=None)
    with pytest.raises(ValueError, match=r"aic-release\.npz lacks gtkps; it has cam_int, "):
        build("camerahmr_npz/aic", tmp_path, tmp_path / "a")
    camerahmr_npz.write(tmp_path / "b", pose=np.zeros((3, 72)))
    with pytest.raises(ValueError, match=r"arrays of different lengths"):
        build("camerahmr_npz/aic", tmp_path, tmp_path / "b")
    camerahmr_npz.write(tmp_path / "c")
    path = tmp_path / "c" / "aic-release.npz"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"aic-release\.npz is not a readable npz file, or it is cut short"):
        build("camerahmr_npz/aic", tmp_path, tmp_path / "c")


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_objects_in_npz_files_are_never_run(tmp_path):
    names = np.array([Evil(f"touch {tmp_path}/owned")] * 4, object)
    camerahmr_npz.write(tmp_path / "m")
    path = tmp_path / "m" / "aic-release.npz"
    columns = dict(np.load(path)) | {"imgname": names}
    np.savez(path, **columns)
    with pytest.raises(ValueError, match=r"was not read: The pickle asks for (posix|nt)\.system"):
        build("camerahmr_npz/aic", tmp_path, tmp_path / "m")
    assert not (tmp_path / "owned").exists()
    objects = np.array([f"aic/{row:03d}.jpg" for row in (0, 1, 2, 2)], object)  # plain text in an object array is fine
    np.savez(path, **(columns | {"imgname": objects}))
    assert build("camerahmr_npz/aic", tmp_path, tmp_path / "m")["train"]["kept"] == 4


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_are_read_without_the_rest(tmp_path, compressed):
    rng = np.random.default_rng(0)
    whole = {"a": rng.normal(size=(50, 4, 3)), "f": np.asfortranarray(rng.normal(size=(50, 3))), "n": np.arange(50)}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", **whole)
    rows = npz_rows.read_rows(epath.Path(tmp_path / "x.npz"), 17, 60, ("a", "f", "n", "missing"))
    assert set(rows) == set(whole)
    for name, values in rows.items():
        np.testing.assert_array_equal(values, whole[name][17:60])
