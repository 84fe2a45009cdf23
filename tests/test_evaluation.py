"""Results, their files, external predictions: every sample once, and every wrong input in one sentence."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scored_people import KEYS, score_file, settings

from hmr_jax import distributed
from hmr_jax.batch import zeros
from hmr_jax.body import Bodies, load_body_model, skin
from hmr_jax.checkpoints import SHIPPED_MODEL, export
from hmr_jax.config import MeshConfig
from hmr_jax.evaluation import commands, loop, statistics
from hmr_jax.evaluation.external import ExternalPredictions, TruthFile, predict_from_file
from hmr_jax.evaluation.partial import PartialResults
from hmr_jax.evaluation.results import read_result, summarize
from hmr_jax.evaluation.scores import make_score_step
from hmr_jax.evaluation.tables import text_table, warnings_of
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params
from hmr_jax.protocols import get_protocol, load_bodies

ROOT = Path(__file__).parent.parent


def fake_step(params, batch):
    """Rows that need no network."""
    error = batch["betas"][:, 0]
    one = jnp.ones(len(error))
    return {
        "mpjpe": error, "per_joint": jnp.broadcast_to(error[:, None], (len(error), 14)), "failed": 0 * one,
        "has_truth": one, "has_body": one, "points": one, "index": batch["index"], "valid": batch["valid"],
    }  # fmt: skip


def mesh(devices=None):
    return distributed.make_mesh(MeshConfig(), devices)


# ---- every sample exactly once


def test_samples_are_found_by_key_and_counted_once_in_padded_batches(people_files, scored):
    summary, rows = read_result(scored.path)
    assert summary["samples"] == 37  # batches of 16: the last one is padded
    assert sorted(rows["key"].tolist()) == sorted(KEYS.tolist())
    assert rows["key"].tolist() == KEYS.tolist()  # in the order of the truth, not of the predictions
    assert summary["failures"] == []
    assert 5 < summary["metrics"]["pa_mpjpe"] < summary["metrics"]["mpjpe"] < 200
    assert set(summary["groups"]["sequence"]["mpjpe"]) == {f"walk_{n}" for n in range(5)}
    low, high = summary["intervals"]["mpjpe"]
    assert low < summary["metrics"]["mpjpe"] < high
    assert {"labels", "picture", "predictions"} <= set(summary["hashes"])
    assert summary["protocol"]["name"] == "synthetic"
    assert summary["seconds"] > 0
    assert not scored.path.with_suffix(".partial").exists()


def test_one_device_and_eight_agree(people_files, scored):
    protocol = get_protocol("synthetic")
    body = load_body_model()
    truth = TruthFile(people_files[0], 16)
    bodies = load_bodies(protocol, body).on(mesh(jax.devices()))
    step = make_score_step(protocol, bodies, predict_from_file(bodies.neutral))
    predictions = ExternalPredictions(people_files[1], protocol).attach(truth, truth.keys)
    rows = loop.collect(step, {}, predictions, mesh(jax.devices()), truth.keys)
    assert rows["key"].tolist() == scored.result.per_sample["key"].tolist()
    for name in protocol.metrics:
        np.testing.assert_allclose(rows[name], scored.result.per_sample[name], rtol=1e-6, atol=1e-3, err_msg=name)
    result = summarize(protocol, rows)
    for name, value in result.metrics.items():
        assert value == pytest.approx(scored.result.metrics[name], rel=1e-6)


def test_gendered_truth_is_the_same_on_one_device_and_eight_and_in_any_batch(people_files, tmp_path):
    """People come one gender after the other, so batches of one gender and of several are posed by other programs."""
    protocol, body = get_protocol("3dpw-j14-hips"), load_body_model()
    taller, smaller = (dataclasses.replace(body, v_template=np.float32(f) * body.v_template) for f in (1.05, 0.9))
    np.savez(tmp_path / "truth.npz", **dict(np.load(people_files[0])), gender=np.array(list("mfn"))[np.arange(37) % 3])
    found = []
    for devices, batch_size in ((jax.devices()[:1], 4), (jax.devices(), 16)):
        truth = TruthFile(tmp_path / "truth.npz", batch_size)
        assert (np.diff(np.concatenate([batch["gender"] for batch in truth(0)])) >= 0).all()
        bodies = Bodies(body, (taller, smaller)).on(mesh(devices))
        step = make_score_step(protocol, bodies, predict_from_file(bodies.neutral))
        predictions = ExternalPredictions(people_files[1], protocol).attach(truth, truth.keys)
        found.append(loop.collect(step, {}, predictions, mesh(devices), truth.keys))
    assert found[0]["key"].tolist() == found[1]["key"].tolist() == KEYS.tolist()
    for name in ("mpjpe", "pa_mpjpe", "pve", "pa_pve"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-6, atol=1e-3, err_msg=name)
    result = summarize(protocol, found[0])
    assert result.genderless == 12  # a third of 37
    assert any(text.startswith("12 samples have no gender") for text in warnings_of(result))


def test_two_processes_agree_with_one_and_share_the_samples(people_files, scored, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    truth, mine = people_files
    arguments = ["--predictions", mine, "--data", truth, "--batch-size", "16", "--output", tmp_path / "two.json"]
    both = []
    for process in range(2):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "HMR_JAX_COORDINATOR": f"127.0.0.1:{port}",
            "HMR_JAX_PROCESSES": "2", "HMR_JAX_PROCESS": str(process),
        }  # fmt: skip
        command = [sys.executable, "eval.py", *map(str, arguments)]
        both.append(subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ))  # fmt: skip
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "written" in outputs[0][0]
    assert "written" not in outputs[1][0]  # one process speaks
    summary, rows = read_result(tmp_path / "two.json")
    assert summary["versions"]["processes"] == "2"
    assert summary["samples"] == scored.result.count
    assert rows["key"].tolist() == scored.result.per_sample["key"].tolist()
    np.testing.assert_array_equal(rows["labels"], scored.result.per_sample["labels"])
    for name, value in scored.result.metrics.items():
        assert summary["metrics"][name] == pytest.approx(value, rel=1e-6), name


def test_an_evaluation_that_was_cut_off_goes_on(people_files, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHUNK", 1)
    truth = TruthFile(people_files[0], 16)
    whole = loop.collect(fake_step, {}, truth, mesh(), truth.keys)
    identity = {"what": "this"}
    asked = []

    def breaking(step):
        asked.append(step)
        for number, batch in enumerate(truth(step), step):
            if number == 2 and len(asked) == 1:
                raise OSError("the disk is gone")
            yield batch

    with pytest.raises(OSError, match="disk"):
        loop.collect(fake_step, {}, breaking, mesh(), truth.keys, PartialResults(tmp_path / "p", identity))
    resumed = loop.collect(fake_step, {}, breaking, mesh(), truth.keys, PartialResults(tmp_path / "p", identity))
    assert asked == [0, 2]
    for name, rows in whole.items():
        np.testing.assert_array_equal(rows, resumed[name], err_msg=name)
    other = PartialResults(tmp_path / "p", {"what": "another network"})
    assert other.load() == (0, [])


def test_a_damaged_chunk_is_computed_again(tmp_path):
    partial = PartialResults(tmp_path / "p", {})
    partial.save(0, 2, {"index": np.arange(4)})
    partial.save(2, 4, {"index": np.arange(4, 8)})
    path = next((tmp_path / "p").glob("00000002*"))
    path.write_bytes(path.read_bytes()[:50])
    step, parts = PartialResults(tmp_path / "p", {}).load()
    assert step == 2
    assert len(parts) == 1


# ---- failures, counts, labels


def test_missing_and_nan_predictions_are_failures_that_are_named(people_files, scored, tmp_path):
    arrays = dict(np.load(people_files[1]))
    keep = arrays["keys"] != KEYS[7]
    arrays = {name: value if value.ndim == 0 else value[keep].copy() for name, value in arrays.items()}
    arrays["pose"][arrays["keys"] == KEYS[20]] = np.nan
    np.savez(tmp_path / "holes.npz", **arrays)
    result = score_file(people_files, tmp_path / "holes.json", tmp_path / "holes.npz").result
    assert sorted(result.failures) == sorted([KEYS[7], KEYS[20]])
    assert result.count == 37
    assert result.metrics["mpjpe"] > scored.result.metrics["mpjpe"] + 5
    rest = np.delete(scored.result.per_sample["mpjpe"], [7, 20])
    assert result.without_failures["mpjpe"] == pytest.approx(rest.mean(), rel=1e-5)
    assert "2 predictions are missing or not finite" in text_table(result)
    assert "without failures" in text_table(result)


def test_another_count_than_the_protocols_is_a_loud_warning(scored):
    protocol = dataclasses.replace(get_protocol("synthetic"), expected=35_515)
    result = dataclasses.replace(scored.result, protocol=protocol)
    assert text_table(result).startswith("!!! 37 samples were scored, but protocol synthetic has 35,515")


def test_samples_without_truth_do_not_count_and_are_reported():
    rows = {name: np.asarray(value) for name, value in fake_step({}, tiny.batch(0)).items()}
    rows |= {"key": np.arange(8).astype(str), "has_truth": np.float32([1, 1, 0, 1, 1, 1, 1, 1])}
    rows["mpjpe"] = np.arange(8.0)
    result = summarize(get_protocol("synthetic"), rows)
    assert result.metrics["mpjpe"] == pytest.approx((28 - 2) / 7)
    assert "1 samples have no truth" in text_table(result)
    with pytest.raises(ValueError, match="None of the 8 samples has the truth"):
        summarize(get_protocol("synthetic"), rows | {"has_truth": np.zeros(8)})


def test_keys_say_which_records_belong_to_a_protocol_and_to_which_sequence():
    rows = {name: np.asarray(value) for name, value in fake_step({}, tiny.batch(0)).items()}
    rows["mpjpe"] = np.arange(8.0)
    cameras = ("60457274", "54138969")
    rows["key"] = np.array([f"S9_Walking_{1 + n // 4}.{cameras[n % 2]}_{n:06d}" for n in range(8)])
    frontal = summarize(get_protocol("h36m-p2-j14"), rows)
    assert frontal.count == 4
    assert frontal.metrics["mpjpe"] == (0 + 2 + 4 + 6) / 4
    assert frontal.groups["sequence"]["mpjpe"] == {"S9_Walking_1.60457274": 1.0, "S9_Walking_2.60457274": 5.0}
    assert frontal.groups["action"]["mpjpe"] == {"Walking": 3.0}
    assert summarize(get_protocol("h36m-p1-j14"), rows).count == 8
    rich, track = get_protocol("rich-24-hips"), get_protocol("3dpw-j19")
    assert statistics.group_names(["Gym_010_cook-010-00012-03"], rich.sequence) == ["Gym_010_cook-010"]
    assert statistics.group_names(["office_phoneCall_00-1-00012"], track.sequence) == ["office_phoneCall_00-1"]
    other = {**rows, "key": np.array([f"S9_Walking_1.54138969_{n}" for n in range(8)])}
    with pytest.raises(ValueError, match="none of 8 does, such as S9_Walking_1"):
        summarize(get_protocol("h36m-p2-j14"), other)


def test_a_true_mesh_serves_where_no_body_can_be_posed(people_files, tmp_path):
    """RICH's SMPL-X meshes, say: the prediction's own mesh as truth leaves no error."""
    arrays = dict(np.load(people_files[1]))
    posed = jax.jit(skin)(
        load_body_model(), arrays["betas"], axis_angle_to_matrix(arrays["pose"].reshape(37, 24, 3))
    )  # fmt: skip
    np.savez(tmp_path / "mesh.npz", keys=arrays["keys"], topology="hmr-default", vertices=np.asarray(posed.vertices))
    chosen = settings(tmp_path / "mesh.npz", tmp_path / "r.json")
    (outcome,) = commands.run([], [people_files[1]], ["rich-24-hips"], chosen, lambda *_: None)
    assert outcome.result.count == 37
    assert max(outcome.result.metrics.values()) < 0.01


def test_acceleration_counts_frames_with_two_neighbours_of_their_sequence():
    protocol = get_protocol("emdb1-24-kinematic")
    keys = np.array(["a/00", "a/01", "a/02", "a/03", "b/04", "b/05", "b/06", "b/08"])
    points = np.zeros((8, 24, 3), np.float32)
    points[2] = 0.001  # in sequence a, one frame jumps by sqrt(3) mm
    rows = {name: np.asarray(value) for name, value in fake_step({}, tiny.batch(0)).items()}
    rows |= {"key": keys, "pred_points": points, "true_points": 0 * points, "per_joint": np.zeros((8, 24))}
    result = summarize(protocol, rows)
    expected = np.full(8, np.nan)
    expected[[1, 2, 5]] = 3**0.5 * np.array([1, 2, 0])
    np.testing.assert_allclose(result.per_sample["acceleration"], expected, atol=1e-5)
    assert result.metrics["acceleration"] == pytest.approx(3**0.5, rel=1e-5)


# ---- external files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": None}, "has no 'keys'"),
        ({"keys": np.full(37, "same")}, "36 keys more than once, such as same"),
        ({"pose": np.zeros((37, 70))}, r"'pose' in .* is float64\(37, 70\); expected float \(37, 24, 3\)"),
        ({"betas": None}, "rotations but no betas"),
        ({"pose": None, "betas": None}, "needs rotations or vertices for protocol synthetic"),
        ({"thetas": np.zeros(3)}, "holds 'thetas'"),
        ({"topology": np.array("smpl")}, "needs SMPL_NEUTRAL .*name the folder with --bodies"),
        ({"vertices": np.zeros((37, 10, 3), np.float32)}, r"\(10 vertices\), but the body is 'hmr-default' \(6890"),
        ({"keys": np.array([{}] * 37)}, "holds objects of Python"),
    ],
)
def test_wrong_prediction_files_are_refused_in_one_sentence(people_files, tmp_path, monkeypatch, change, message):
    monkeypatch.delenv("HMR_JAX_BODIES", raising=False)
    arrays = {name: value for name, value in (dict(np.load(people_files[1])) | change).items() if value is not None}
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        score_file(people_files, tmp_path / "x.json", tmp_path / "wrong.npz")
    assert not (tmp_path / "x.json").exists()


def test_wrong_options_are_refused_in_one_sentence(people_files, tmp_path):
    def run(protocol, predictions=people_files[1], checkpoint=(), **changes):
        chosen = settings(people_files[0], tmp_path / "x.json", **changes)
        commands.run(checkpoint, [predictions] if predictions else [], [protocol], chosen, lambda *_: None)

    with pytest.raises(ValueError, match=r"no protocol 'syntetic': the nearest are synthetic"):
        run("syntetic")
    with pytest.raises(ValueError, match="Name a --checkpoint"):
        run("synthetic", predictions=None)
    with pytest.raises(FileNotFoundError, match="no truth file"):
        run("synthetic", data="nowhere.npz")
    with pytest.raises(FileNotFoundError, match="needs SMPL_MALE"):
        run("3dpw-j14-pelvis", bodies=tmp_path)
    with pytest.raises(ValueError, match="A truth file has no images"):
        run("synthetic", predictions=None, checkpoint=[SHIPPED_MODEL])
    with pytest.raises(ValueError, match="two result files, not 1"):
        commands.compare([tmp_path])
    genders = dict(np.load(people_files[0])) | {"gender": np.full(37, "x")}
    np.savez(tmp_path / "truth.npz", **genders)
    with pytest.raises(ValueError, match="has the gender 'x'"):
        run("synthetic", data=str(tmp_path / "truth.npz"))


def test_records_need_no_dense_targets_to_evaluate_a_model_that_was_trained_with_them(tmp_path):
    class Asked(Exception):
        pass

    def ask(config, *_):
        raise Asked(*config.data.dense)

    model = tmp_path / "model"
    config = tiny.config("unused")
    data = dataclasses.replace(config.data, dense=("depth", "parts"), dense_size=16)  # records have no parts
    config = dataclasses.replace(config, data=data)
    export(model, config, init_params(build_model(config.model), jax.random.key(0), zeros(1, 32)))
    with pytest.raises(Asked) as asked:
        commands.run([model], [], ["synthetic"], settings(tmp_path, tmp_path / "x.json"), ask)
    assert asked.value.args == ()
