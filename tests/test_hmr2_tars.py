"""4D-Humans' tars become records that say the same, whatever else is in them."""

import io
import pickle

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from formats import checks, hmr2_tars  # noqa: E402
from formats.checks import check_truth, read, source_points  # noqa: E402
from formats.hmr2_tars import detection, person_of, write_tar  # noqa: E402
from formats.people import jpeg, people  # noqa: E402

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.formats.hmr2_tars import CORRUPT, Hmr2Tars  # noqa: E402
from data_pipelines.builders.labels import hmr2_filters  # noqa: E402
from data_pipelines.builders.labels.hmr2_filters import Filters, PosePrior  # noqa: E402
from data_pipelines.records import decode_mask  # noqa: E402

FOLDER = "aic-train-vitpose"


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tars")
    return folder, hmr2_tars.write(folder)


class Hmr2TarsTest(checks.BuilderTestCase):
    DATASET_CLASS = Hmr2Tars
    BUILDER_CONFIG_NAMES_TO_TEST = ["aic"]  # noqa: RUF012
    SPLITS = {"train": 6}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def example_dir(request, manual):
        request.cls.EXAMPLE_DIR = str(manual[0])


def test_labels_come_through_unchanged(manual, tmp_path, capsys):
    folder, truth = manual
    report = build("hmr2_tars/aic", tmp_path, folder, body="default", skip=[50])
    assert report == {"train": {"read": 6, "kept": 6, "dropped": {}}}
    said = capsys.readouterr().out
    assert "102 of 104 tars" in said
    assert "pose_prior is not given" in said
    records = read(tmp_path, "hmr2_tars/aic", "train")
    assert [record["key"] for record in records] == sorted(truth)
    for record in records:
        person = truth[record["key"]]
        check_truth(record, person, translation=False)
        middle = source_points(record, record["box/center"][None])[0]
        np.testing.assert_allclose(middle, person["box_center"], atol=1e-3)
        side = record["box/size"] * np.diff(record["image/source_box"][::2]) / record["image/width"]
        np.testing.assert_allclose(side, person["box_size"], rtol=1e-5)
        if record["mask/encoded"]:  # its centre is where it was
            y, x = np.nonzero(decode_mask(record["mask/encoded"]))
            y0, x0 = np.nonzero(person["mask"])
            center = source_points(record, np.array([[x.mean(), y.mean()]]))[0]
            np.testing.assert_allclose(center, [x0.mean(), y0.mean()], atol=1)
    assert sum(bool(record["mask/encoded"]) for record in records) == 2


def test_keypoints_land_where_body_and_camera_put_them(manual, tmp_path):
    """The tars hold no camera: the truth's own projects the record's body onto the record's 2-D keypoints."""
    folder, truth = manual
    build("hmr2_tars/aic", tmp_path, folder, body="default", workers=1)
    for record in read(tmp_path, "hmr2_tars/aic", "train"):
        person = truth[record["key"]]
        pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]])[None]
        keypoints = checks.load_labelled_bodies("default").keypoints(
            "n", pose, record["smpl/betas"][None], person["translation"][None]
        )
        points = keypoints[0] @ person["intrinsics"].T
        seen = source_points(record, record["keypoints_2d"][:, :2])
        assert np.linalg.norm(points[:, :2] / points[:, 2:] - seen, axis=1).max() < 1


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_every_protocol_of_pickles_is_read(tmp_path, protocol):
    hmr2_tars.write(tmp_path / "m", protocol=protocol)
    assert build("hmr2_tars/aic", tmp_path, tmp_path / "m")["train"]["kept"] == 6


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_bad_samples_are_dropped_counted_and_never_run(tmp_path):
    drawn = people()
    image, mask = jpeg(drawn["image"][0]), drawn["mask"][0]

    def sample(**changes):
        return {"jpg": image, "data.pyd": pickle.dumps([person_of(drawn, 0, **changes)])}

    nan = np.full(10, np.nan, np.float32)
    tar = {
        "a/good": sample(),
        f"aic-train/{CORRUPT[0]}": sample(),
        "a/evil": sample() | {"data.pyd": pickle.dumps([Evil(f"touch {tmp_path}/owned")])},
        "a/unsafe": sample() | {"data.pyd": pickle.dumps([io.BytesIO()])},
        "a/cut": sample() | {"data.pyd": sample()["data.pyd"][:300]},
        "a/alone": {"jpg": image},
        "a/image": sample() | {"jpg": image[:700]},
        "a/nan": sample(betas=nan),
        "a/shape": sample(body_pose=np.zeros(69, np.float32)),
        "a/few": sample(keypoints_2d=np.zeros((44, 3), np.float32)),
        "a/loss": sample(extra_info={"fitting_loss": np.array({"reprojection_loss": 31_000.0}, object)}),
        "a/dict": sample() | {"data.pyd": pickle.dumps({"a": 1})},
        "a/box": sample(scale=np.full(2, 0.9)),  # in units of 200 px; another unit would be out of range
        "a/unit": sample(scale=np.full(2, 180.0)),
        "a/mask": sample() | {"detection.npz": detection(mask)[:200]},
        "a/hole": {name: data for name, data in sample().items() if name == "jpg"} | {"data.pyd": pickle.dumps([{}])},
        "b/good": sample(),
    }
    write_tar(tmp_path / "m" / FOLDER / "000000.tar", tar)
    whole = tmp_path / "m" / FOLDER / "000001.tar"
    write_tar(whole, {f"c/{i}": sample() for i in range(3)})
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    report = build("hmr2_tars/aic", tmp_path, tmp_path / "m")["train"]
    assert report["dropped"] == {
        "key: known to be corrupt": 1,
        "labels: pickle with unsafe names refused": 2,
        "labels: damaged pickle": 1,
        "sample: without image or labels": 1,
        "image: cannot be decoded": 1,
        "betas: not finite": 1,
        "labels: of another shape or type": 1,
        "keypoints_2d: too few with confidence": 1,
        "fit: large reprojection loss": 1,
        "labels: not a list of people": 1,
        "box: far larger than the image": 1,
        "mask: damaged detection.npz": 1,
        "labels: no keypoints_2d": 1,
        "tar: cut short or damaged": 1,
    }
    assert report["kept"] == 3 + 1
    assert not (tmp_path / "owned").exists()


def test_a_part_has_to_be_chosen(tmp_path):
    with pytest.raises(ValueError, match=r"Say which part of 'hmr2_tars': It has hmr2_tars/h36m, "):
        build("hmr2_tars", tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"no part 'isnta': did you mean insta"):
        build("hmr2_tars/isnta", tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds nothing of 'hmr2_tars'.* dataset_tars"):
        build("hmr2_tars/insta", tmp_path, tmp_path)


# Filters


def person(**changes):
    points = np.concatenate([np.zeros((44, 2)), np.linspace(0, 1, 44)[:, None]], 1)
    return {
        "keypoints_2d": points, "pose": np.zeros(72), "betas": np.ones(10), "has_pose": True, "has_betas": True,
        "reprojection_loss": None,
    } | changes  # fmt: skip


def test_filters_follow_hmr2_in_their_order():
    kept = Filters()(person())
    assert (kept["keypoints_2d"][:, 2] > 0).sum() == (np.linspace(0, 1, 44) >= 0.3).sum()
    assert kept["has_pose"]
    assert kept["has_betas"]

    shape = Filters()(person(betas=np.full(10, 3.1)))
    assert not shape["has_pose"]  # the pair stands or falls together
    assert shape["has_betas"]  # then the shape is drawn to the average
    assert (shape["betas"] == 0).all()
    assert not Filters(regularize_betas=False)(person(betas=np.full(10, 3.1)))["has_betas"]
    assert Filters(max_beta=0)(person(betas=np.full(10, 3.1)))["has_pose"]

    few = person()
    few["keypoints_2d"] = few["keypoints_2d"] * (np.arange(44) >= 40)[:, None]
    assert Filters()(few) == "keypoints_2d: too few with confidence"
    assert isinstance(Filters(min_keypoints=4)(few), dict)
    assert Filters()(person(reprojection_loss=31_000.0)) == "fit: large reprojection loss"
    assert isinstance(Filters()(person(reprojection_loss=30_999.0)), dict)
    assert isinstance(Filters(max_reprojection_loss=0)(person(reprojection_loss=1e9)), dict)


@pytest.fixture
def prior_file(tmp_path, monkeypatch):
    """A histogram of people who all stand still, each joint within a bin of no rotation; a coarse one, for speed."""
    monkeypatch.setattr(hmr2_filters, "BINS", 30)
    counts = np.zeros((21, 30, 30, 30), np.float32)
    counts[:, 14:16, 14:16, 14:16] = 1000
    path = tmp_path / "amass_poses_hist100_SMPL+H_G.npy"
    np.save(path, counts)
    return path


def test_improbable_poses_lose_their_labels(prior_file):
    prior = PosePrior(str(prior_file))
    poses = np.zeros((3, 69))
    poses[1, 3 * 3] = 2.0  # a knee
    poses[2, 3 * 9] = 1.3  # a foot, of which the prior asks least
    poses[2, 0] = 2 * np.pi  # a whole circle is no rotation
    assert prior.probable(poses).tolist() == [True, False, True]
    filters = Filters(pose_prior=str(prior_file))
    assert filters(person())["has_pose"]
    bent = np.zeros(72)
    bent[3 * 4] = 2.0
    assert not filters(person(pose=bent))["has_pose"]


def test_a_prior_of_another_form_is_refused(tmp_path):
    hmr2_filters.load_prior.cache_clear()
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"a\.npy is not a pose prior: its shape is \(3, 4\)"):
        PosePrior(str(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"b\.npy is not a pose prior"):
        PosePrior(str(tmp_path / "b.npy"))
