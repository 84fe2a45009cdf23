"""Which points, samples and frames count in a result, and what is said where labels are missing or wrong."""

import dataclasses

import numpy as np
import pytest
import tiny
from scored_people import KEYS, score_file

from hmr_jax import distributed
from hmr_jax.body import load_body_model
from hmr_jax.config import MeshConfig
from hmr_jax.evaluation import loop
from hmr_jax.evaluation.external import ExternalPredictions, TruthFile, predict_from_file
from hmr_jax.evaluation.loop import mean_body_errors
from hmr_jax.evaluation.results import summarize
from hmr_jax.evaluation.scores import box_scale, make_score_step, true_subject
from hmr_jax.evaluation.tables import text_table
from hmr_jax.protocols import get_protocol, load_bodies, score
from hmr_jax.protocols.scoring import Subject

SYNTHETIC = get_protocol("synthetic")
RIGHT_ANKLE = 25
JUNK = (0.0, np.nan, 1e30)


def truth_with(people_files, path, **changes):
    np.savez(path, **(dict(np.load(people_files[0])) | changes))
    return path


def scored_against(people_files, path, protocol=SYNTHETIC):
    """The result of the predictions against a truth file."""
    mesh = distributed.make_mesh(MeshConfig())
    truth = TruthFile(path, 16)
    bodies = load_bodies(protocol, load_body_model())
    step = make_score_step(protocol, bodies.on(mesh), predict_from_file(bodies.neutral))
    predictions = ExternalPredictions(people_files[1], protocol).attach(truth, truth.keys)
    return summarize(protocol, loop.collect(step, {}, predictions, mesh, truth.keys))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_samples_of_one_or_two_points_have_no_aligned_error(people_files, scored, tmp_path, count):
    """A similarity transform takes two points anywhere: the aligned error was 0, and made the mean better."""
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    root, others = (
        SYNTHETIC.keypoint_root,
        [point for point in SYNTHETIC.keypoints if point not in SYNTHETIC.keypoint_root],
    )
    keypoints[3, :, 3] = 0
    keypoints[3, [*root, *others[: count - len([point for point in root if point in SYNTHETIC.keypoints])]], 3] = 1
    result = scored_against(people_files, truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints))
    assert result.per_sample["points"][3] == count
    assert np.isfinite(result.per_sample["mpjpe"][3])
    assert np.isnan(result.per_sample["pa_mpjpe"][3]) == (count < 3)
    rest = np.delete(np.arange(len(KEYS)), 3)
    expected = scored.result.per_sample["pa_mpjpe"][rest]
    np.testing.assert_allclose(result.per_sample["pa_mpjpe"][rest], expected, rtol=1e-5)
    if count < 3:
        assert result.metrics["pa_mpjpe"] == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("junk", JUNK)
def test_a_point_without_label_counts_nowhere(people_files, scored, tmp_path, junk):
    """Zeros in its place once made a row of 165 mm of a prediction that equals the truth, and NaN an error."""
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    keypoints[3, RIGHT_ANKLE] = [junk, junk, junk, 0]
    result = scored_against(people_files, truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints))
    ankle = SYNTHETIC.joint_names.index("right_ankle")
    before = scored.result.per_sample["per_joint"].copy()
    assert np.isnan(result.per_sample["per_joint"][3, ankle])
    before[3, ankle] = np.nan
    np.testing.assert_allclose(result.per_sample["per_joint"], before, rtol=1e-5)
    assert result.per_joint["right_ankle"] == pytest.approx(np.nanmean(before[:, ankle]), rel=1e-5)
    expected = np.nanmean(before, 1)
    np.testing.assert_allclose(result.per_sample["mpjpe"], expected, rtol=1e-4)
    sequence = [key.split("/")[0] == "walk_0" for key in KEYS]
    assert result.groups["sequence"]["mpjpe"]["walk_0"] == pytest.approx(expected[sequence].mean(), rel=1e-4)
    known = np.isfinite(result.per_sample["sigma_error"])
    assert not known[3, RIGHT_ANKLE]
    assert known.sum() == known.size - 1


def test_a_point_that_nobody_labelled_has_no_row_and_is_named(people_files, tmp_path):
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    keypoints[:, RIGHT_ANKLE] = 0
    result = scored_against(people_files, truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints))
    assert "right_ankle" not in result.per_joint
    assert max(result.per_joint.values()) < 300
    assert "No sample has a label for right_ankle: the numbers are over 13 points, not the 14" in text_table(result)


def test_a_sample_without_truth_has_no_row_in_any_statistic(people_files, tmp_path):
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    keypoints[5, 39] = 0  # the root
    result = scored_against(people_files, truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints))
    for name in SYNTHETIC.metrics:
        assert np.flatnonzero(np.isnan(result.per_sample[name])).tolist() == [5]
    assert np.isnan(result.per_sample["per_joint"][5]).all()
    assert "1 of them lack only the root (pelvis_mpii)" in text_table(result)


def test_the_root_that_is_missing_everywhere_is_named(people_files, tmp_path):
    protocol = get_protocol("capture-12")
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    keypoints[:, 28] = 0
    truth = truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints)
    with pytest.raises(ValueError, match=r"label of their root \(left_hip and right_hip\).* 37 of them lack only "):
        scored_against(people_files, truth, protocol)


@pytest.mark.parametrize("factor", [1000, 100, 0.1, 1e-3])
def test_labels_in_another_unit_are_an_error_that_names_the_labels(factor):
    rows = {
        "extent": np.full(4, 1.4 * factor), "points": np.full(4, 14.0), "key": KEYS[:4], "index": np.arange(4),
        "has_truth": np.ones(4), "has_body": np.ones(4), "failed": np.zeros(4), "per_joint": np.ones((4, 14)),
        "mpjpe": np.ones(4),
    }  # fmt: skip
    with pytest.raises(
        ValueError, match=r"The labels of protocol synthetic are not in metres: most people extend over"
    ):
        summarize(SYNTHETIC, rows)
    assert summarize(SYNTHETIC, rows | {"extent": np.full(4, 1.4)}).count == 4


def test_accelerations_per_second_leave_out_the_ends_of_sequences_as_wham_does():
    protocol = get_protocol("3dpw-j14-hips")
    count = 9
    keys = np.array([f"a/{n:02d}" for n in range(6)] + [f"b/{n:02d}" for n in range(3)])
    rng = np.random.default_rng(0)
    pred, true = rng.normal(0, 0.01, (2, count, 14, 3)).astype(np.float32)
    one = np.ones(count)
    rows = {
        "key": keys, "index": np.arange(count), "pred_points": pred, "true_points": true, "has_truth": one,
        "has_body": one, "points": 14 * one, "failed": 0 * one, "per_joint": np.zeros((count, 14)),
    }  # fmt: skip
    result = summarize(protocol, rows)
    difference = (pred - true)[:6]
    error = np.linalg.norm(difference[2:] - 2 * difference[1:-1] + difference[:-2], axis=-1).mean(1)
    expected = np.full(count, np.nan)
    expected[2:4] = error[1:-1] * 30**2  # of b, with one acceleration, none is left
    np.testing.assert_allclose(result.per_sample["acceleration_wham"], expected, rtol=1e-4)
    assert result.metrics["acceleration_wham"] == pytest.approx(np.nanmean(expected), rel=1e-4)
    assert np.isfinite(result.per_sample["acceleration"]).sum() == 5
    assert "Accel, WHAM, m/s^2" in text_table(result)


def test_2d_shares_are_averaged_over_keypoints_as_hmr2_does():
    """Pooled, a keypoint with many labels outweighs the others: 0.447 against 0.472."""
    protocol = get_protocol("coco-pck")
    rng = np.random.default_rng(0)
    true, pred = np.zeros((12, 44, 2), np.float32), rng.normal(0, 0.08, (12, 44, 2)).astype(np.float32)
    pred[:, 0] *= 9
    visible = rng.random((12, 44)) < 0.4
    visible[:, 0], visible[:, 7], visible[5] = True, False, False
    rows = dict(score(protocol, Subject(pred), Subject(true), np.where(visible, 0.9, 0.3).astype(np.float32)))
    rows = {name: np.asarray(value) for name, value in rows.items()}
    rows |= {"key": np.array(list("abcdefghijkl")), "index": np.arange(12)}
    rows |= {"has_truth": visible.any(1), "has_body": np.zeros(12)}
    result = summarize(protocol, rows)
    correct = np.linalg.norm(pred - true, axis=-1) <= 0.1
    with np.errstate(invalid="ignore"):
        shares = (correct & visible).sum(0) / visible.sum(0)
    assert result.metrics["pck"] == pytest.approx(100 * np.nanmean(shares), rel=1e-5)
    assert abs(result.metrics["pck"] - 100 * correct[visible].mean()) > 1
    assert np.isnan(result.per_sample["pck"][5])


def test_2d_errors_are_in_units_of_the_box_before_it_grew():
    """HMR2.0 cuts larger crops than it measures by: a box of 80 x 240 grows to 180 x 240, one of 200 x 240 to 320."""
    batch = tiny.batch(0) | {"box_size": np.full(8, 320, np.float32)}
    np.testing.assert_array_equal(box_scale(batch), 1)
    extent = np.float32([[0, 0], [200, 240], [320, 10]] + [[240, 240]] * 5)
    np.testing.assert_allclose(box_scale(batch | {"box_extent": extent}), [1, 4 / 3, 1] + [4 / 3] * 5, rtol=1e-6)
    protocol = get_protocol("coco-pck")
    plain, grown = (true_subject(protocol, None, None, made) for made in (batch, batch | {"box_extent": extent}))
    np.testing.assert_allclose(
        grown.subject.points, plain.subject.points * np.asarray(grown.scale)[:, None, None], rtol=1e-6
    )


def test_a_damaged_2d_label_is_an_error_and_not_a_miss():
    protocol = get_protocol("coco-pck")
    true, pred = np.zeros((2, 44, 2), np.float32), np.zeros((2, 44, 2), np.float32)
    true[1, 3] = np.nan
    rows = {
        name: np.asarray(value)
        for name, value in score(protocol, Subject(pred), Subject(true), np.ones((2, 44), np.float32)).items()
    }
    rows |= {"key": np.array(["a", "b"]), "index": np.arange(2), "has_truth": np.ones(2), "has_body": np.zeros(2)}
    with pytest.raises(ValueError, match=r"not finite for samples \['b'\].*damaged"):
        summarize(protocol, rows)


def test_the_share_of_chosen_points_counts_where_one_of_them_is_labelled():
    protocol = dataclasses.replace(get_protocol("3dhp"), pck_joints=(0, 1))
    true = np.random.default_rng(0).normal(0, 0.3, (3, 17, 3)).astype(np.float32)
    weights = np.ones((3, 17), np.float32)
    weights[1, :2] = 0
    rows = {name: np.asarray(value) for name, value in score(protocol, Subject(true), Subject(true), weights).items()}
    rows |= {"key": np.array(["a", "b", "c"]), "index": np.arange(3), "has_truth": np.ones(3), "has_body": np.zeros(3)}
    assert summarize(protocol, rows).metrics["pck"] == 100


def test_the_mean_body_is_that_of_the_labelled_samples():
    batch = tiny.batch(0)
    labels = {name: batch[name].copy() for name in ("pose", "betas", "keypoints_3d", "has_pose", "has_betas")}
    bodies = load_bodies(SYNTHETIC, load_body_model())
    alone = mean_body_errors(SYNTHETIC, bodies, {name: rows[:5] for name, rows in labels.items()})
    labels["has_pose"][5:], labels["pose"][5:], labels["keypoints_3d"][5:] = 0, np.nan, 0
    found = mean_body_errors(SYNTHETIC, bodies, labels)
    for name, value in alone.items():
        assert found[name] == pytest.approx(value, rel=1e-5)
    assert mean_body_errors(SYNTHETIC, bodies, labels | {"has_pose": np.zeros(8)}) == {}


def test_a_dense_network_is_scored_where_there_are_labels():
    rows = {
        "part_error": np.array([0.1, 0.9]), "labelled/part_error": np.array([True, False]),
        "depth_error": np.array([3.0, np.nan]), "labelled/depth_error": np.array([True, False]),
        "key": np.array(["a", "b"]), "index": np.arange(2),
    }  # fmt: skip
    assert summarize(None, rows).metrics == {"part_error": 0.1, "depth_error": 3.0}


def test_the_files_of_a_result_with_missing_labels_are_read_again(people_files, tmp_path):
    keypoints = dict(np.load(people_files[0]))["keypoints_3d"].copy()
    keypoints[5, 39] = 0
    truth = truth_with(people_files, tmp_path / "t.npz", keypoints_3d=keypoints)
    outcome = score_file((truth, people_files[1]), tmp_path / "r.json")
    assert outcome.result.unlabelled == 1
