"""The examples of docs/howto/export.md run on files that `hmr export` writes."""

import documented
import numpy as np
import pytest

from hmr_commands import program
from hmr_commands.saved_model import FORMATS
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.export import export_network, load_network, writing
from hmr_jax.geometry import upright

PAGE = "docs/howto/export.md"
BLOCKS = [block for block in documented.every_block() if block.page == PAGE and block.language == "python"]


@pytest.mark.slow
def test_the_examples_of_the_page_run(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "quickstart_savedmodel"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writing, "measure", lambda *_: {})
    network = load_network(SHIPPED_MODEL)
    for to in ("stablehlo", "onnx"):
        export_network(network, to)
    export_network(load_network(tiny_checkpoint), "savedmodel", folder, FORMATS)
    for block in BLOCKS:
        exec(compile(block.text, f"{PAGE}:{block.line}", "exec"), {"__name__": "example"})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("(2, 6890, 3) metres")
    assert said[1].startswith("(2, 6890, 3) ['openpose_nose'")
    assert said[2] == "(2, 6890, 3)"


def test_the_pages_tilt_is_that_of_prediction():
    (code,) = [block.text for block in BLOCKS if "def tilt" in block.text]
    names: dict = {}
    exec(code, names)
    landmarks = np.random.default_rng(0).normal(size=(5, 39, 8))
    expected = upright.tilt(landmarks[:, [23, 24]], landmarks[:, [11, 12]])
    np.testing.assert_allclose(names["tilt"](landmarks), expected)


def run(arguments, monkeypatch, capsys):
    """Exit code, stdout and stderr of `hmr export`."""
    monkeypatch.setenv("HMR_JAX_CACHE", "")
    code: object = 0
    try:
        program.main(["export", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_prints_the_file_and_its_differences(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, error = run([tiny_checkpoint, "--to", "stablehlo"], monkeypatch, capsys)
    assert code == 0, error
    lines = out.splitlines()
    assert lines[0] == "tiny.stablehlo"
    assert "batches of 1, 3 and 8" in lines[1]
    assert any(line.startswith("vertices ") and len(line.split()) == 4 for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.stablehlo"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "--to"),
        (["model", "--to", "tflite"], "stablehlo"),
        (["nowhere", "--to", "onnx"], "There is no checkpoint in"),
        (["mine.txt", "--to", "onnx"], "is a file: name the folder of a checkpoint, or 'model'"),
        (["CHECKPOINT", "--to", "stablehlo", "--output", "mine.txt"], "is no stablehlo of hmr_jax: choose another"),
        (["CHECKPOINT", "--to", "savedmodel", "--output", "mine.txt"], "is no savedmodel of hmr_jax: choose another"),
    ],
)
def test_errors_are_one_sentence(arguments, message, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    arguments = [str(tiny_checkpoint) if one == "CHECKPOINT" else one for one in arguments]
    code, _, error = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "mine"
