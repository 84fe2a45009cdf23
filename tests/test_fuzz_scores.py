"""Predictions and truth of files end in right scores or in a sentence; fuzz_scores.py has the examples."""

import random
import zipfile

import fuzz_scores
import numpy as np
import pytest
from fuzz_scores import COUNT, KEYS, evaluated, poses, predictions, reference, truth

from hmr_jax.depth import read_depth
from hmr_jax.evaluation.commands import Settings, run
from hmr_jax.evaluation.partial import PartialResults
from hmr_jax.evaluation.plausibility import check_finite
from hmr_jax.evaluation.scoring_files import read_texts
from hmr_jax.inference.box_files import read_table
from hmr_jax.io.research_files import read_plain_npz
from hmr_jax.protocols import get_protocol


@pytest.mark.parametrize("kind", fuzz_scores.KINDS)
def test_random_files_give_right_scores_or_a_sentence(kind, monkeypatch):
    monkeypatch.setattr(fuzz_scores, "PROTOCOLS", ("rich-24-hips",))
    results = [fuzz_scores.one(kind, seed) for seed in range(10)]
    assert 0 < sum(results) < 10


def written(tmp_path, predicted=None, true=None):
    """Files of predictions and of truth, with changes."""
    for name, tree, change in (("p", predictions(random.Random(1)), predicted), ("t", truth(random.Random(0)), true)):
        kept = {key: value for key, value in (tree | (change or {})).items() if value is not None}
        np.savez(tmp_path / f"{name}.npz", **kept)
    return tmp_path / "p.npz", tmp_path / "t.npz"


NO_VERTICES = np.zeros((COUNT, 0, 3), np.float32)
WRONG = {
    "meshes without vertices": ({}, {"vertices": NO_VERTICES}, r"'vertices' in .*t\.npz is float32\(5, 0, 3\)"),
    "meshes of another body": (
        {},
        {"vertices": np.tile(np.eye(44, 3, dtype=np.float32), (COUNT, 1, 1))},
        r"'vertices' in .*t\.npz are 44 for",
    ),
    "keys that only look like bytes": ({"keys": np.array(["b'a', b'c'"] * COUNT)}, {}, "keys more than once"),
    "bytes that are not closed": ({"keys": np.array([f"b'{i}\\'" for i in range(COUNT)])}, {}, "None of the 5 keys"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_once_broke_the_evaluation_are_refused(tmp_path, name):
    predicted, true, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        evaluated("rich-24-hips", *written(tmp_path, predicted, true))


def test_half_precision_axis_angle_is_scored_as_what_it_says(tmp_path):
    pose, betas = (array.astype(np.float16) for array in poses(random.Random(0)))
    plain = {"keys": KEYS, "topology": np.array("hmr-default"), "pose": pose, "betas": betas}
    true = {"keys": KEYS, "topology": plain["topology"], "pose": pose.astype(np.float32), "betas": betas.astype("f4")}
    for name, tree in (("p", plain), ("t", true)):
        np.savez(tmp_path / f"{name}.npz", **tree)
    result = evaluated("rich-24-hips", tmp_path / "p.npz", tmp_path / "t.npz")
    assert result.metrics["mpjpe"] < 0.01
    assert reference(get_protocol("rich-24-hips"), plain, true)["mpjpe"] < 0.01


@pytest.mark.parametrize(("batch_size", "examples"), [(0, 0), (-1, 0), (4, -1)])
def test_batches_of_nothing_do_not_run_for_ever(tmp_path, batch_size, examples):
    predicted, true = written(tmp_path)
    settings = Settings(str(true), "", examples, batch_size, None, False, tmp_path / "out.json", False)
    with pytest.raises(ValueError, match="there is nothing to score"):
        run([], [predicted], ["synthetic"], settings, lambda *_: None)


def test_errors_of_no_sample_are_finite():
    check_finite("pve", np.zeros(0), np.zeros(0, str))
    check_finite("per_joint", np.zeros((0, 14)), np.zeros(0, str))


def test_keys_are_decoded_only_if_all_of_them_are_written_bytes(tmp_path):
    for texts, wanted in ((["b'a'", 'b"c"'], ["a", "c"]), (["b'a'", "b'c"], ["b'a'", "b'c"])):
        assert read_texts(np.array(texts), "keys", tmp_path).tolist() == wanted


def damaged_type(path, key, array):
    """An npz file whose header was damaged in a byte: float32 became float16, and half of the array stays unread."""
    np.savez(path, **{key: array})
    data = path.read_bytes()
    assert data.count(b"'<f4'") == 1
    path.write_bytes(data.replace(b"'<f4'", b"'<f2'"))
    return path


def test_an_array_whose_header_asks_for_less_is_not_read_in_silence(tmp_path):
    path = damaged_type(tmp_path / "a.npz", "pose", np.ones((90, 24, 3), np.float32))
    with np.load(path) as silent:
        assert silent["pose"].shape == (90, 24, 3)
    with pytest.raises(ValueError, match=r"a\.npz is not a readable npz file: Bad CRC-32 for file 'pose\.npy'"):
        read_plain_npz(path)
    depth = damaged_type(tmp_path / "depth.npz", "depth", np.ones((90, 80), np.float32))
    with pytest.raises(ValueError, match=r"depth\.npz cannot be read as a depth map, .*: Bad CRC-32"):
        read_depth(depth)
    boxes = damaged_type(tmp_path / "boxes.npz", "a.jpg", np.ones((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"boxes\.npz is not a readable npz file: Bad CRC-32"):
        read_table(boxes, [tmp_path / "a.jpg"])


def test_rows_of_an_interrupted_evaluation_that_were_damaged_are_computed_again(tmp_path):
    for damaged in (False, True):
        partial = PartialResults(tmp_path / str(damaged), {"protocol": "synthetic"})
        partial.load()
        partial.save(0, 2, {"pred_points": np.ones((90, 24, 3), np.float32)})
        if damaged:
            file = tmp_path / "True" / "00000000_00000002.npz"
            file.write_bytes(file.read_bytes().replace(b"'<f4'", b"'<f2'"))
        step, parts = PartialResults(tmp_path / str(damaged), {"protocol": "synthetic"}).load()
        assert (step, len(parts)) == ((0, 0) if damaged else (2, 1))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("a.npy", archive.read("a.npy"))
    with pytest.raises(ValueError, match="several arrays of one name"):
        read_plain_npz(tmp_path / "a.npz")
