"""Two results of the same samples: paired differences, their significance, and what cannot be compared."""

import dataclasses
import json

import numpy as np
import pytest
from scored_people import KEYS

from hmr_jax.evaluation import statistics
from hmr_jax.evaluation.comparison import compare_results, comparison_table
from hmr_jax.evaluation.results import write_result


def worse(scored, tmp_path, offset, **changes):
    """A copy of a result whose samples have an offset."""
    rows = dict(scored.result.per_sample)
    rows["mpjpe"] = rows["mpjpe"] + offset
    result = dataclasses.replace(scored.result, per_sample=rows | changes)
    write_result(tmp_path / "b.json", result, {}, {})
    return tmp_path / "b.json"


def test_paired_differences_and_their_significance(scored, tmp_path):
    pairs = {d.metric: d for d in compare_results(scored.path, worse(scored, tmp_path, 2.0))}
    assert pairs["mpjpe"].second - pairs["mpjpe"].first == pytest.approx(2, abs=1e-4)
    assert pairs["mpjpe"].interval == pytest.approx((2, 2), abs=1e-4)
    assert pairs["mpjpe"].p_value == 2 / 2**5  # five sequences, all with one sign
    assert pairs["mpjpe"].wins == 0
    assert pairs["pa_mpjpe"].p_value == 1
    assert pairs["pa_mpjpe"].wins == 0.5
    assert "+2.00" in comparison_table(list(pairs.values()))


def test_what_cannot_be_compared_is_refused(scored, tmp_path):
    with pytest.raises(FileNotFoundError, match="no result file"):
        compare_results(scored.path, tmp_path / "nowhere.json")
    keys = scored.result.per_sample["key"].copy()
    keys[3] = "another"
    with pytest.raises(ValueError, match="2 are in one of them only, such as another"):
        compare_results(scored.path, worse(scored, tmp_path, 0.0, key=keys))
    labels = scored.result.per_sample["labels"].copy()
    labels[5] += np.uint64(1)
    with pytest.raises(ValueError, match=f"different labels of the same keys, such as {KEYS[5]}"):
        compare_results(scored.path, worse(scored, tmp_path, 0.0, labels=labels))
    path = worse(scored, tmp_path, 0.0)
    summary = json.loads(path.read_text())
    summary["protocol"]["name"] = "3dpw-j19"
    path.write_text(json.dumps(summary))
    with pytest.raises(ValueError, match=r"under synthetic and .* under 3dpw-j19 \(name differ\)"):
        compare_results(scored.path, path)
    path.with_name("b.samples.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.samples\.npz is missing"):
        compare_results(scored.path, path)


def test_intervals_cover_the_truth_and_tests_do_not_cry_wolf():
    rng = np.random.default_rng(0)
    covered, rejected = 0, 0
    for seed in range(60):
        groups = np.repeat(np.arange(20), 10).astype(str)
        values = rng.normal(0, 1, 20).repeat(10) + rng.normal(0, 0.1, 200)
        low, high = statistics.bootstrap_interval(values, np.ones(200), groups, 300, seed)
        covered += low <= 0 <= high
        rejected += statistics.paired_test(values, np.ones(200), groups, 500, seed) < 0.05
    assert covered >= 50  # 95 % of 60 are 57; resampling frames instead of sequences would cover about 26
    assert rejected <= 9
    assert statistics.bootstrap_interval(values, np.ones(200), np.full(200, "one")) is None
    assert statistics.paired_test(values, np.ones(200), np.full(200, "one")) is None
