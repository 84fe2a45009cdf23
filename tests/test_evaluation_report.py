"""The report of an evaluation: tables, charts, calibration, and what an error depends on."""

import dataclasses

import numpy as np
import pytest
import tiny

from hmr_jax.evaluation.report import calibration, condition_curve, write_evaluation_report
from hmr_jax.evaluation.scores import conditions
from hmr_jax.evaluation.tables import escape_latex, latex_table
from hmr_jax.protocols import get_protocol


def test_a_report_has_tables_charts_and_calibration(scored, tmp_path):
    protocol = get_protocol("3dpw-j14-hips")  # has published rows beside it
    relabelled = dataclasses.replace(scored, result=dataclasses.replace(scored.result, protocol=protocol))
    path = write_evaluation_report(tmp_path / "out", [scored, relabelled])
    page = path.read_text()
    assert page.count("<svg") >= 8
    assert "SAM-3D-Body paper, Table 2" in page
    assert "Rank correlation of sigma" in page
    assert "!!! 37 of 35,515" in page
    tex = (tmp_path / "out" / "results.tex").read_text()
    assert r"D2A-HMR & 80.5 & 48.4 & 88.4" in tex
    assert tex.count(r"\begin{tabular}") == 2
    assert not list((tmp_path / "out").glob("*.part"))


def test_calibration_of_perfect_and_of_useless_sigmas():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(10, 100, (50, 44))
    correlation, curves = calibration(sigma, sigma)
    assert correlation == pytest.approx(1)
    factors, shares = map(np.array, curves["coverage"])
    np.testing.assert_array_equal(shares, np.where(factors > 0.999, 100, 0))
    np.testing.assert_allclose(*curves["reliability"])
    errors = rng.uniform(10, 100, (50, 44))
    errors[:, 3] = np.nan
    assert abs(calibration(sigma, errors)[0]) < 0.1


def test_conditions_are_read_off_the_labels():
    batch = tiny.batch(0)
    batch["keypoints_2d"][0, :11, 2] = 0
    batch["keypoints_2d"][1, :22, 0] = 0.7
    batch["pose"][:, 0] = 0
    batch["pose"][2, 0] = [0, np.pi, 0]  # turned to the camera
    rows = conditions(batch)
    np.testing.assert_allclose(rows["occlusion"][:2], [0.25, 0], atol=1e-6)
    np.testing.assert_allclose(rows["truncation"][1], 0.5, atol=1e-6)
    np.testing.assert_allclose(np.abs(rows["viewpoint"][:3]), [180, 180, 0], atol=1e-3)
    box = {"box_center": np.float32([[0, 50]] * 8), "box_size": np.full(8, 40, np.float32)}
    rows = conditions(batch | box | {"image_size": np.full((8, 2), 100, np.float32)})
    np.testing.assert_allclose(rows["truncation"], 0.5)
    errors = np.repeat([1.0, 5.0], 20)
    assert condition_curve(errors, np.repeat([0.0, 1.0], 20)) == ([0.0625, 0.9375], [1.0, 5.0])
    assert condition_curve(errors, np.zeros(40)) is None


def test_latex_cells_are_escaped():
    assert escape_latex("a_b & 5 %") == r"a\_b \& 5 \%"
    assert r"x\_1 & 2.0 \\" in latex_table(["m", "v"], [["x_1", "2.0"]], "c")
