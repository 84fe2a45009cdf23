"""The scripts of examples/ run, on the small data that they make, and leave what their pages say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    """Runs a script in a folder; what it prints."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict(tmp_path):
    said = run("predict", tmp_path)
    assert "6890 vertices" in said
    results = tmp_path / "runs" / "example_predict" / "results"
    assert {path.suffix for path in results.glob("person_0*")} == {".json", ".npz", ".glb", ".png"}
    assert len(json.loads((results / "person_2.json").read_text())["people"]) == 1


def test_evaluate(tmp_path):
    said = run("evaluate", tmp_path)
    scores = tmp_path / "runs" / "example_evaluate" / "scores"
    first, second = (
        json.loads((scores / f"{name}_synthetic.json").read_text())["metrics"]["mpjpe"] for name in ("first", "second")
    )
    assert 0 < first < second  # the second system sees more noise
    assert "B better on" in said
    assert json.loads((tmp_path / "runs" / "example_evaluate" / "shipped.json").read_text())["samples"] == 16


def test_train_on_own_data(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    run("train_on_own_data", tmp_path)
    out = tmp_path / "runs" / "example_own_data"
    steps = [json.loads(line)["step"] for line in (out / "pitchers" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    assert json.loads((out / "result.json").read_text())["samples"] == 4
    assert (out / "data" / "mlb_pitch.html").exists()


def test_published_weights(tmp_path):
    said = run("published_weights", tmp_path)
    assert "equal to the encoder in the file" in said
    assert (tmp_path / "runs" / "example_weights" / "encoder" / "source.json").exists()


def test_every_script_has_a_test():
    assert {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")} <= set(globals())
