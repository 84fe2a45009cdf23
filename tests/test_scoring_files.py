"""Truth and prediction files as other systems write them: read as they are meant, or refused in one sentence."""

import io
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_people import KEYS, score_file

from hmr_jax.evaluation.external import ExternalPredictions, TruthFile
from hmr_jax.protocols import get_protocol

SYNTHETIC = get_protocol("synthetic")


def changed(file, path, **changes):
    arrays = {name: value for name, value in (dict(np.load(file)) | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


def rotations(pose):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3).astype(np.float32)


# ---- texts as h5py gives them

BYTES = {
    "bytes": lambda texts: np.char.encode(texts.astype(str)),
    "bytes written out": lambda texts: np.array([str(text.encode()) for text in texts.astype(str).flat]).reshape(
        texts.shape
    ),
}


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("side", ["truth", "predictions", "both"])
def test_keys_topology_and_gender_of_bytes_are_text(people_files, scored, tmp_path, kind, side):
    as_bytes = BYTES[kind]
    truth, mine = people_files
    if side != "predictions":
        gender = as_bytes(np.array(list("mfn"))[np.arange(37) % 3])
        topology = as_bytes(np.array("hmr-default"))
        truth = changed(truth, tmp_path / "t.npz", keys=as_bytes(KEYS), gender=gender, topology=topology)
        assert TruthFile(truth, 16)._gender.tolist() == [(1, 2, 0)[n % 3] for n in range(37)]
    if side != "truth":
        keys = as_bytes(np.load(mine)["keys"])
        mine = changed(mine, tmp_path / "p.npz", keys=keys, topology=as_bytes(np.array(["hmr-default"])))
    result = score_file((truth, mine), tmp_path / "r.json").result
    assert result.failures == ()
    assert result.metrics == pytest.approx(scored.result.metrics, rel=1e-6)


def test_keys_that_look_like_bytes_among_others_are_kept(people_files, tmp_path):
    keys = KEYS.astype("<U20").copy()
    keys[0] = "b'x'"
    truth = changed(people_files[0], tmp_path / "t.npz", keys=keys)
    assert TruthFile(truth, 16).all_keys[:2] == ["b'x'", KEYS[1]]


@pytest.mark.parametrize("numbers", [np.arange(37), np.arange(37).astype(np.uint8)])
def test_keys_may_be_whole_numbers(people_files, tmp_path, numbers):
    truth = changed(people_files[0], tmp_path / "t.npz", keys=numbers)
    assert TruthFile(truth, 16).all_keys[:3] == ["0", "1", "2"]


def test_an_evaluation_in_which_no_key_matches_is_an_error(people_files, tmp_path):
    keys = np.char.add("other_", np.load(people_files[1])["keys"])
    mine = changed(people_files[1], tmp_path / "p.npz", keys=keys)
    with pytest.raises(ValueError, match=r"None of the 37 keys of .*p.npz is a key of .*truth.npz: 'other_walk"):
        score_file((people_files[0], mine), tmp_path / "r.json")
    assert not list(tmp_path.glob("r*"))


@pytest.mark.parametrize(
    ("gender", "numbers"),
    [
        (np.array("Male"), [1] * 37),
        (np.array(b"f"), [2] * 37),
        (np.array(["FEMALE", "Neutral", "m"] * 13)[:37], ([2, 0, 1] * 13)[:37]),
        (np.array([["m"]] * 37), [1] * 37),
    ],
)
def test_genders_are_read_in_any_case_and_one_serves_all(people_files, tmp_path, gender, numbers):
    assert TruthFile(changed(people_files[0], tmp_path / "t.npz", gender=gender), 16)._gender.tolist() == numbers


@pytest.mark.parametrize(
    ("gender", "message"),
    [
        (np.array(["m"] * 5), r"'gender' in .* has the shape \(5,\); expected one for each of the 37 keys"),
        (np.array(["m"] * 40), r"shape \(40,\)"),
        (np.array(["m"]), r"shape \(1,\)"),
        (np.array(["man"] * 37), "has the gender 'man': use n, m, f"),
        (np.zeros(37), "has the gender '0.0': use n, m, f"),
        (np.array(1), "has the gender '1': use n, m, f"),
    ],
)
def test_genders_that_are_none_are_refused(people_files, tmp_path, gender, message):
    with pytest.raises(ValueError, match=message):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", gender=gender), 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": np.array("one")}, r"'keys' in .* has the shape \(\)"),
        ({"keys": np.arange(37) + 0.5}, "'keys' in .* is float64: give text"),
        ({"keys": np.array([b"\xff" + bytes([n]) for n in range(37)])}, "bytes that are not UTF-8"),
        ({"topology": np.array(["smpl", "hmr-default"])}, "'topology' in .* should be one word, not 2"),
        ({"gender": np.array(["m"] * 37)}, "predictions are of the neutral body"),
    ],
)
def test_texts_that_are_none_are_refused(people_files, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ExternalPredictions(changed(people_files[1], tmp_path / "p.npz", **changes), SYNTHETIC)


# ---- rotations and units


def spoilt(pose, how):
    matrices = rotations(pose)
    if how == "scaled":
        return {"pose": None, "rotations": matrices * np.float32(1.05)}
    if how == "zeros":
        return {"pose": None, "rotations": 0 * matrices}
    if how == "one of zeros":
        matrices[5, 7] = 0
        return {"pose": None, "rotations": matrices}
    if how == "mirrored":
        return {"pose": None, "rotations": matrices * np.float32([-1, 1, 1])}
    return {"pose": np.rad2deg(pose)}


@pytest.mark.parametrize("how", ["scaled", "zeros", "one of zeros", "mirrored", "degrees"])
def test_rotations_that_are_none_are_an_error_of_the_predictions(people_files, tmp_path, how):
    pose = np.load(people_files[1])["pose"]
    mine = changed(people_files[1], tmp_path / "p.npz", **spoilt(pose, how))
    expected = "more than a turn" if how == "degrees" else "no rotation matrices"
    with pytest.raises(ValueError, match=rf"The predictions '\w+' in .*p.npz are .*{expected}"):
        ExternalPredictions(mine, SYNTHETIC)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rotations_of_any_precision_and_missing_ones_pass(people_files, tmp_path, dtype):
    matrices = rotations(np.load(people_files[1])["pose"]).astype(dtype)
    matrices[3] = np.nan
    mine = changed(people_files[1], tmp_path / "p.npz", pose=None, rotations=matrices)
    assert ExternalPredictions(mine, SYNTHETIC).arrays["rotations"].shape == (37, 24, 3, 3)


@pytest.mark.parametrize("name", ["joints", "keypoints_3d", "vertices"])
@pytest.mark.parametrize("factor", [1000.0, 100.0, 0.01, 1e-3])
def test_predicted_lengths_in_another_unit_are_refused(people_files, tmp_path, name, factor):
    count = {"joints": 24, "keypoints_3d": 44, "vertices": 6890}[name]
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (37, count, 3)).astype(np.float32) + np.float32([0, 0, 5])
    points[4] = np.nan  # a failure
    with pytest.raises(ValueError, match=rf"The predictions '{name}' in .* are not in metres"):
        ExternalPredictions(
            changed(people_files[1], tmp_path / "p.npz", **{name: points * np.float32(factor)}), SYNTHETIC
        )
    ExternalPredictions(changed(people_files[1], tmp_path / "p.npz", **{name: points}), SYNTHETIC)
    points[7] *= 1000
    with pytest.raises(ValueError, match=rf"'{name}' in .* are not in metres, or damaged, for walk"):
        ExternalPredictions(changed(people_files[1], tmp_path / "p.npz", **{name: points}), SYNTHETIC)


@pytest.mark.parametrize("factor", [1000.0, 100.0, 0.1, 1e-3])
def test_labels_in_another_unit_are_refused_by_their_name(people_files, tmp_path, factor):
    keypoints = np.load(people_files[0])["keypoints_3d"].copy()
    keypoints[..., :3] *= factor
    with pytest.raises(ValueError, match=r"The labels 'keypoints_3d' in .* are not in metres"):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", keypoints_3d=keypoints), 16)


def test_poses_of_degrees_are_an_error_of_the_labels(people_files, tmp_path):
    pose = np.rad2deg(np.load(people_files[0])["pose"])
    with pytest.raises(ValueError, match=r"The labels 'pose' in .* more than a turn"):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", pose=pose), 16)


def test_2d_keypoints_in_pixels_are_refused_on_either_side(people_files, tmp_path):
    points = np.random.default_rng(0).uniform(0, 256, (37, 44, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"The predictions 'keypoints_2d' in .* units of the crop's side"):
        ExternalPredictions(changed(people_files[1], tmp_path / "p.npz", keypoints_2d=points), get_protocol("coco-pck"))
    labelled = np.concatenate([points, np.ones((37, 44, 1), np.float32)], -1)
    with pytest.raises(ValueError, match=r"The labels 'keypoints_2d' in .* units of the crop's side"):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", keypoints_2d=labelled), 16)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_labels_without_confidence_may_hold_anything(people_files, tmp_path, junk):
    keypoints = np.load(people_files[0])["keypoints_3d"].copy()
    keypoints[3, 5] = [junk, junk, junk, 0]
    truth = TruthFile(changed(people_files[0], tmp_path / "t.npz", keypoints_3d=keypoints), 16)
    assert not np.concatenate([batch["keypoints_3d"] for batch in truth(0)])[3, 5].any()


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ([np.nan, 0, 0, 1], r"not finite for walk_0/003.*confidence"),
        ([0, 0, 0, np.nan], "confidence in .* not a number"),
    ],
)
def test_labels_that_count_must_be_finite(people_files, tmp_path, point, message):
    keypoints = np.load(people_files[0])["keypoints_3d"].copy()
    keypoints[3, 5] = point
    with pytest.raises(ValueError, match=message):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", keypoints_3d=keypoints), 16)


def test_a_pose_of_nan_is_no_label_and_half_of_one_is_damage(people_files, tmp_path):
    pose = np.load(people_files[0])["pose"].copy()
    pose[3] = np.nan
    truth = TruthFile(changed(people_files[0], tmp_path / "t.npz", pose=pose), 16)
    has = np.concatenate([batch["has_pose"] for batch in truth(0)])[:37]
    assert np.flatnonzero(has == 0).tolist() == [3]
    pose[3, 0] = 0
    with pytest.raises(ValueError, match=r"The labels 'pose' in .* not finite for walk_0/003: the labels are damaged"):
        TruthFile(changed(people_files[0], tmp_path / "t.npz", pose=pose), 16)


# ---- anything else: a clear error, or arrays that can be scored

SPOIL = {
    "scale": lambda x, rng: x * rng.choice([-1, 0, 1e-3, 0.5, 1.05, 57.3, 1e3, 1e30]),
    "holes": lambda x, rng: np.where(rng.random(x.shape) < 0.1, rng.choice([np.nan, np.inf, -np.inf, 1e30]), x),
    "rows": lambda x, rng: np.where(
        (rng.random(len(x)) < 0.2).reshape(-1, *[1] * (x.ndim - 1)), rng.choice([0, np.nan]), x
    ),
    "type": lambda x, rng: np.nan_to_num(x).astype(rng.choice(["f2", "f4", "f8", "i4", "c8", "U5", "S3", "?"])),
    "cut": lambda x, rng: x[: rng.integers(len(x) + 1)],
    "turn": lambda x, rng: x.T,
    "more": lambda x, rng: x[..., None],
    "scalar": lambda x, rng: x.reshape(-1)[0],
}


@pytest.mark.parametrize("side", ["truth", "predictions"])
@given(seed=st.integers(0, 2**32))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_spoilt_files_are_refused_in_a_sentence_or_can_be_scored(people_files, side, seed):
    rng = np.random.default_rng(seed)
    arrays = dict(np.load(people_files[side == "predictions"]))
    arrays["gender"] = np.array(list("mfn"))[np.arange(37) % 3]
    if side == "predictions":
        del arrays["gender"]
        arrays["rotations"] = rotations(arrays.pop("pose"))
        arrays["joints"] = rng.uniform(-0.8, 0.8, (37, 24, 3)).astype(np.float32)
    for name in rng.choice(sorted(arrays), rng.integers(1, 3), replace=False):
        how = rng.choice(sorted(SPOIL))
        if arrays[name].dtype.kind == "f" or how in ("cut", "more", "scalar"):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if arrays[name].ndim:
                    arrays[name] = SPOIL[how](arrays[name], rng)
    file = io.BytesIO()
    np.savez(file, **arrays)
    path = people_files[0].with_name(f"spoilt_{side}.npz")
    path.write_bytes(file.getvalue())
    said = None
    try:
        if side == "truth":
            for batch in TruthFile(path, 16)(0):
                for name, array in batch.items():
                    assert np.isfinite(array).all(), name
                points = batch["keypoints_3d"]
                assert np.abs(np.ptp(points[..., :3], axis=1)[(points[..., 3] > 0).all(1)]).max(initial=0) <= 10
        else:
            found = ExternalPredictions(path, SYNTHETIC).arrays
            turns = found["rotations"][np.isfinite(found["rotations"]).all((1, 2, 3))]
            np.testing.assert_allclose(np.linalg.det(turns.astype(np.float64)), 1, atol=0.02)
            extent = np.ptp(found["joints"].astype(np.float64), axis=1)
            assert extent[np.isfinite(extent)].max(initial=0) <= 10
    except ValueError as error:
        said = str(error)
    assert said is None or (str(path) in said and "\n" not in said), said
