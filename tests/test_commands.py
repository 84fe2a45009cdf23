"""The program `hmr` and the modules behind it: help, wrong input, and no import that a command does not need."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hmr_commands import program
from hmr_commands.program import COMMANDS
from hmr_jax import cli

ROOT = Path(__file__).parent.parent
SCRIPTS = {"train.py": "train", "eval.py": "eval", "predict.py": "predict"}
MODULES = [command.module for command in COMMANDS.values() if not command.module.startswith("hmr_commands")]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    variables = os.environ | {"JAX_PLATFORMS": "cpu"} | environment
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def ended_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        program.main(arguments)
    assert (end.value.code or 0) == code


def test_help_lists_all_commands_in_a_line_each(capsys):
    program.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        assert f"  {name:<18}{command.summary}" in lines
    assert all(len(line) < 100 for line in lines)


def test_the_version_is_told(capsys):
    program.main(["--version"])
    assert capsys.readouterr().out.startswith("hmr_jax 0.")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself(capsys, name, option):
    ended_with(0, name, option)
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: hmr {name} ")
    assert shown.err == ""


def test_train_without_a_configuration_explains_how_to_name_one(capsys):
    ended_with(0, "train", "--help")
    shown = capsys.readouterr().out
    for path in (ROOT / "configs").glob("*.py"):
        assert f"  {path.stem} " in shown
    for arguments in (["--config", "quickstart", "-h"], ["--config=configs/quickstart.py", "--help"]):
        ended_with(0, "train", *arguments)
        shown = capsys.readouterr().out
        assert "--optim.learning-rate FLOAT" in shown
        assert "(default: quickstart)" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: name a command: train, eval, predict,"),
        (["evl"], "error: there is no command 'evl'; did you mean eval?"),
        (["xyz"], "error: there is no command 'xyz'; it is one of train, eval,"),
        (["train"], "error: name a configuration file first: hmr train --config FILE"),
        (["train", "--config"], "error: name a configuration file first: hmr train --config FILE"),
        (["train", "--config", "quikstart"], "error: There is no configuration quikstart; did you mean quickstart?"),
        (["train", "--config", "quickstart", "--stepz", "3"], "--stepz, 3; did you mean --steps? (hmr train --config"),
        (["train", "--config", "quickstart", "--steps", "x"], "error: Error parsing --steps: invalid literal"),
        (["eval"], "error: Name a --checkpoint,"),
        (["eval", "--split", "dev"], "Expected one of ('', 'train', 'validation', 'test', 'all')"),
        (["eval", "--compare", "a.json"], "error: --compare takes two result files, not 1."),
        (["predict"], "error: Name an image"),
        (["predict", "a.jpg", "--boxez", "1"], "--boxez, 1; did you mean --boxes? (hmr predict --help"),
        (["build"], "error: Missing from hmr build: NAME."),
        (["build", "synthetic_people", "--option", "depth"], "error: 'depth' is not of the form NAME=VALUE."),
        (["inspect", "dots", "--data-dir", "nowhere"], "error: No data set 'dots'"),
        (["precompute-depth", "--provider", "disk:x", "--out", "y"], "error: Name an image"),
        (["precompute-depth", "a.jpg"], "error: Missing from hmr precompute-depth: --provider STR, --out PATH."),
        (["prepare", "--out", "bodies"], "error: Name a file of SMPL's"),
        (["prepare", "absent.pkl", "--out", "bodies"], "error: There is no file absent.pkl."),
        (["convert", "absent.pth", "--to", "weights"], "absent.pth"),
        (["protocols", "3dpw"], "error: There is no protocol '3dpw'"),
    ],
)
def test_wrong_input_ends_with_two_and_one_sentence(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    ended_with(2, *arguments)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_debugging_shows_where_an_error_is_from(monkeypatch):
    monkeypatch.setenv("HMR_JAX_DEBUG", "1")
    with pytest.raises(ValueError, match="There is no protocol"):
        program.main(["protocols", "3dpw"])


def test_an_interruption_is_no_traceback(monkeypatch):
    def interrupt(names: tuple[str, ...] = ()) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(COMMANDS["protocols"].module), "main", interrupt)
    with pytest.raises(SystemExit, match=r"^Interrupted\.$"):
        program.main(["protocols"])


def test_the_table_of_protocols_and_one_of_them(capsys):
    program.main(["protocols"])
    table = capsys.readouterr().out
    program.main(["protocols", "3dpw-j14-hips"])
    one = capsys.readouterr().out
    assert "3dpw-j14-hips" in table
    assert "convention: " in one
    assert len(one) < len(table)


def test_options_with_hyphens_and_underscores_are_the_same():
    both = [program.parse(["eval", option, "5"]) for option in ("--batch-size", "--batch_size")]
    assert both[0].keywords == both[1].keywords
    assert both[0].keywords["batch_size"] == 5


@pytest.mark.parametrize(("script", "name"), SCRIPTS.items())
def test_scripts_at_the_top_are_the_commands(script, name):
    done = python(script, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script} ")
    command = python("-m", "hmr_commands", name, "--help")
    assert done.stdout.replace(script, "") == command.stdout.replace(f"hmr {name}", "")


@pytest.mark.parametrize("module", MODULES)
def test_modules_run_by_themselves(module):
    name = module.removesuffix(".__main__")
    done = python("-m", name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {name} ")


def test_the_package_itself_is_no_silent_command():
    done = python("-m", "hmr_jax")
    assert done.returncode != 0
    assert "No module named hmr_jax.__main__" in done.stderr


def test_commands_import_what_they_need_only():
    code = (
        "import sys; from hmr_commands import program; program.main(['--help']);"
        "assert not {'jax', 'numpy', 'tensorflow'} & set(sys.modules), 'help';"
        "program.parse(['predict', 'a.jpg']);"
        "from hmr_jax.inference import Predictor, files;"
        "assert not {'tensorflow', 'tensorflow_datasets', 'data_pipelines'} & set(sys.modules), 'predict'"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_one_framework_parses_all_commands():
    for folder in ("hmr_jax", "data_pipelines", "hmr_commands"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "import argparse" not in path.read_text(), path


def test_parsing_does_not_call():
    bound = cli.parse(importlib.import_module("hmr_jax.body.prepare").main, "prepare", ["a", "b", "--out", "c"])
    assert bound.keywords == {"files": (Path("a"), Path("b")), "out": Path("c")}
