"""The program `hmr`: one command for each thing to do, imported only when it is called."""

import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hmr_jax import __version__, cli


@dataclass(frozen=True)
class Command:
    """A command of `hmr`."""

    module: str
    """Has the function `main`, whose parameters are the options."""
    summary: str


COMMANDS = {
    "train": Command("hmr_commands.train", "train a model, or resume a run"),
    "eval": Command("hmr_commands.evaluate", "score checkpoints or external predictions under named protocols"),
    "predict": Command("hmr_commands.predict", "predict the bodies of people in images"),
    "live": Command("hmr_commands.live", "show the bodies of whom a camera sees, in a browser, while it sees them"),
    "view": Command("hmr_commands.view", "serve a live scene of results in a browser"),
    "capture": Command("hmr_commands.capture", "one body for each moment of several calibrated cameras"),
    "export": Command("hmr_commands.export", "write a network as StableHLO, SavedModel or ONNX"),
    "demo": Command("hmr_commands.demo.__main__", "serve a page: images in, bodies out"),
    "build": Command("data_pipelines.build", "build a data set of records"),
    "inspect": Command("data_pipelines.inspect", "write a page about a data set: counts, charts, contact sheets"),
    "fit": Command("data_pipelines.fit", "fit bodies to the keypoints of a data set"),
    "precompute-depth": Command("data_pipelines.precompute_depth", "write depth maps of images"),
    "prepare": Command("hmr_jax.body.prepare", "convert SMPL files once, and list what is missing"),
    "convert": Command("hmr_jax.weights.convert", "convert a published checkpoint"),
    "launch-local": Command("hmr_jax.distributed.launch_local", "run a command as several processes, as if on hosts"),
    "size": Command("hmr_jax.training.sizing", "memory and network that a recipe needs on N devices"),
    "protocols": Command("hmr_jax.protocols.__main__", "list the evaluation protocols, or describe one"),
}
PROGRAM = "hmr"


def parse(arguments: Sequence[str]) -> Callable[[], Any]:
    """The function that a command line asks for, with its arguments, not yet called.

    Raises:
        ValueError: for an unknown command, or as `cli.parse` does.
    """
    if not arguments:
        raise ValueError(f"name a command: {', '.join(COMMANDS)} ({PROGRAM} --help says what they do).")
    name, *options = arguments
    if name in ("-h", "--help"):
        return functools.partial(print, _help())
    if name == "--version":
        return functools.partial(print, f"hmr_jax {__version__}")
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"it is one of {', '.join(COMMANDS)}."
        raise ValueError(f"there is no command '{name}'; {hint}")
    main = importlib.import_module(COMMANDS[name].module).main
    return cli.parse(main, f"{PROGRAM} {name}", options)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program.

    Args:
        arguments: a command and its options; by default those of this process.
    """
    with cli.one_line_errors():
        parse(sys.argv[1:] if arguments is None else arguments)()


def _help() -> str:
    return "\n".join([
        f"usage: {PROGRAM} COMMAND [OPTIONS]",
        "",
        *(f"  {name:<18}{command.summary}" for name, command in COMMANDS.items()),
        "",
        f"{PROGRAM} COMMAND --help lists its options; {PROGRAM} --version tells the version.",
    ])  # fmt: skip
