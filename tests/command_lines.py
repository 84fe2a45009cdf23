"""Checks a documented command line without running it: by the parser of the program, whatever it is.

Commands of hmr are parsed by `hmr_commands.program.parse`, and the names in them (data sets, options of builders,
protocols) looked up. The parsers of other programs are read out of their sources, as these may import what is not
installed.
"""

import argparse
import ast
import contextlib
import inspect
import io
import itertools
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hmr_commands import program
from hmr_jax import cli
from hmr_jax.protocols import get_protocol

ROOT = Path(__file__).parent.parent
SCRIPTS = {"train.py": "train", "eval.py": "eval", "predict.py": "predict"}
MODULES = {command.module.removesuffix(".__main__"): name for name, command in program.COMMANDS.items()}
# What stands for something else in a usage line, and what it is filled in with.
PLACEHOLDERS = {
    r"\[--FIELD VALUE( \.\.\.)?\]": "--steps 7",
    r"--config (FILE|configs/NAME\.py)": "--config configs/quickstart.py",
    r"\bbuild NAME\b": "build three_dpw",
    r"\bconvert_?SOURCE\b": "convert vitpose.pth",
    r"\b(PART|NAME)$": "sampling",
    r"=N\b": "=2",
    r"\bN\b": "2",
    r"\bHEIGHT WIDTH\b": "256 192",
    r" \.\.\.": "",
}


class WrongCommand(ValueError):
    """A documented command line that would not work."""


def check(line: str, mention: bool = False) -> None:
    """Raises WrongCommand unless the line is a command that its program takes.

    Args:
        line: with placeholders.
        mention: of inline code: the name of a command without its arguments will do.
    """
    for placeholder, value in PLACEHOLDERS.items():
        line = re.sub(placeholder, value, line)
    words = shlex.split(line)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    name, *arguments = words
    checks: dict[str, Callable[[list[str], bool], None]] = {
        "python": _python, "hmr": _hmr, "make": _make, "pip": _pip, "pytest": _pytest, "pre-commit": _pre_commit,
    }  # fmt: skip
    kind = name.rpartition("/")[2]
    if kind not in checks:
        raise WrongCommand(f"'{kind}' is no program that the documentation may use")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            checks[kind](arguments, mention)
    except SystemExit as end:
        if end.code:
            raise WrongCommand(said.getvalue()) from end
    except (ValueError, OSError, LookupError) as error:
        raise WrongCommand(str(error)) from error


def _python(arguments: list[str], mention: bool) -> None:
    if mention and arguments in ([], ["-m"]):
        return
    if arguments[0] == "-m":
        module, rest = arguments[1], arguments[2:]
    else:
        module, rest = arguments[0].removesuffix(".py").replace("/", "."), arguments[1:]
        if not (ROOT / arguments[0]).is_file():
            raise WrongCommand(f"there is no script {arguments[0]}")
    if f"{module}.py" in SCRIPTS or module in MODULES:
        _hmr([SCRIPTS.get(f"{module}.py") or MODULES[module], *rest], mention)
    elif module == "hmr_commands":
        _hmr(rest, mention)
    elif module in ("pip", "pytest"):
        {"pip": _pip, "pytest": _pytest}[module](rest, mention)
    elif module == "http.server" or (module == "venv" and len(rest) == 1):
        return
    else:
        _own_program(module, rest)


def _hmr(arguments: list[str], mention: bool) -> None:
    if not arguments and mention:
        return
    if arguments[1:] or not mention:
        _names(arguments[0], program.parse(arguments))
    elif arguments[0] not in (*program.COMMANDS, "--help", "--version"):
        raise WrongCommand(f"hmr has no command {arguments[0]}")


def _names(command: str, call: Any) -> None:
    """Looks up what the options of a command name."""
    if command == "build":
        bound = inspect.signature(call.func).bind(*call.args, **call.keywords)
        bound.apply_defaults()
        _builder(bound.arguments["name"], itertools.chain(*bound.arguments["option"]))
    if command == "launch-local":
        _python(list(inspect.signature(call.func).bind(*call.args, **call.keywords).arguments["command"]), False)
    for protocol in call.keywords.get("protocol", ()):
        get_protocol(protocol.partition("@")[0])


def _builder(text: str, pairs: Iterable[str]) -> None:
    from data_pipelines.builders import load_builder

    name, _, part = text.partition("/")
    builder: Any = load_builder(name)
    parts = [config.name for config in builder.BUILDER_CONFIGS]
    if part not in (parts or [""]) and part != "PART":
        raise WrongCommand(f"{name} has no part '{part}'")
    known = {
        parameter.name
        for kind in builder.__mro__
        for parameter in inspect.signature(kind.__init__).parameters.values()
        if parameter.kind == parameter.KEYWORD_ONLY
    }
    if unknown := {pair.partition("=")[0] for pair in pairs} - known:
        raise WrongCommand(f"{name} has no option {min(unknown)}")


def _own_program(module: str, arguments: list[str]) -> None:
    """A program of benchmarks, tools, examples or tests."""
    base = ROOT.joinpath(*module.split("."))
    path = next((path for path in (base.with_suffix(".py"), base / "__main__.py") if path.is_file()), None)
    if path is None or module.split(".")[0] not in ("benchmarks", "tools", "examples", "tests", "hmr_commands"):
        raise WrongCommand(f"there is no program {module}")
    source = path.read_text()
    if "cli.parse_config(" in source:
        cli.parse_config(arguments, module)
    elif "tyro.cli(main)" in source or "cli.run(main" in source:
        namespace: dict[str, Any] = {"__name__": module}
        exec(compile(source, str(path), "exec"), namespace)
        cli.parse(namespace["main"], module, arguments)
    else:
        parser = read_parser(source)
        if "parse_known_args" in source:  # the rest are fields of the configuration
            _, fields = parser.parse_known_args(arguments)
            cli.parse_config(["--config", str(ROOT / "configs" / "quickstart.py"), *fields], module)
        else:
            parser.parse_args(arguments)


def read_parser(source: str) -> argparse.ArgumentParser:
    """The parser that the calls of `add_argument` in a source describe: names, numbers of values, switches."""
    parser = argparse.ArgumentParser()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            given = {word.arg: word.value for word in node.keywords if word.arg in ("nargs", "action", "required")}
            parser.add_argument(
                *map(ast.literal_eval, node.args), **{name: ast.literal_eval(value) for name, value in given.items()}
            )
    return parser


def _make(arguments: list[str], mention: bool) -> None:
    targets = " ".join(re.findall(r"^([\w -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)).split()
    for word in arguments:
        if "=" not in word and word not in targets:
            raise WrongCommand(f"the Makefile has no target {word}")
    if not arguments and not mention:
        raise WrongCommand("make needs a target")


def _pip(arguments: list[str], mention: bool) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if arguments[0] != "install":
        raise WrongCommand("only pip install is documented")
    for word in arguments[1:]:
        found = re.fullmatch(r"(?:-e|--editable|\.|(?:\.|hmr_jax)\[(.*)\])", word)
        if not found:
            raise WrongCommand(f"pip installs something else: {word}")
        if unknown := set((found[1] or "").split(",")) - {"", *extras}:
            raise WrongCommand(f"there is no extra {min(unknown)}")


def _pytest(arguments: list[str], mention: bool) -> None:
    for word in arguments:
        if not word.startswith("-") and not (ROOT / word).exists():
            raise WrongCommand(f"there is no {word}")


def _pre_commit(arguments: list[str], mention: bool) -> None:
    if arguments != ["install"]:
        raise WrongCommand("only pre-commit install is documented")
