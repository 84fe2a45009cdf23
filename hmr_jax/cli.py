"""What the commands share: options from typed functions, configurations from files, errors as one sentence."""

import ast
import contextlib
import difflib
import functools
import importlib.util
import inspect
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from hmr_jax.config import Config
from hmr_jax.config.checks import check_ranges, check_types

SHIPPED = Path(__file__).parents[1] / "configs"  # beside the package, in a checkout as where it is installed

# The type of a command's first parameter if that is a configuration: --config FILE with its fields as options.
ConfigFields = Annotated[Config, tyro.conf.arg(name="")]

# A path in a home folder, as the value of an option or behind the name of a provider: shells expand only the bare "~".
_HOME = re.compile(r"^((?:--[\w.-]+=)?(?:[a-z-]+:)?)(~[^/]*(?=/|$))")


def run(main: Callable[..., Any], program: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a function as a command: the one way in which all commands start.

    Args:
        main: its parameters are the options, its docstring is the help. A parameter of the type `ConfigFields` comes
            first; it is the configuration that `--config FILE` names, with the fields that are given.
        program: what the user typed to start it, for messages.
        arguments: of the command line; by default those of this process.
    """
    with one_line_errors():
        parse(main, program, sys.argv[1:] if arguments is None else arguments)()


def parse(main: Callable[..., Any], program: str, arguments: Sequence[str]) -> Callable[[], Any]:
    """What `run` would call: `main` with its arguments.

    Raises:
        ValueError: for an option that is unknown, missing or of a wrong type.
        FileNotFoundError: if there is no such configuration.
        SystemExit: after `--help`.
    """
    arguments = [_HOME.sub(lambda match: match[1] + os.path.expanduser(match[2]), argument) for argument in arguments]

    @functools.wraps(main)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(main, *args, **kwargs)

    parameters = inspect.signature(main).parameters
    first, *others = parameters or [""]
    if not first or parameters[first].annotation != ConfigFields:
        return _parse_options(bound, program, arguments)
    name, options = _named_config(arguments, program, others)
    with_config = functools.partial(bound, **{first: load_config(name)})
    return _parse_options(with_config, f"{program} --config {name}", options)


def parse_config(arguments: Sequence[str], program: str) -> Config:
    """A configuration of `--config FILE` and any fields, e.g. `--optim.learning-rate 3e-4`.

    Raises:
        ValueError: without a file, or for an unknown field or a wrong value.
        FileNotFoundError: if there is no such configuration.
        SystemExit: after `--help`.
    """
    name, fields = _named_config(arguments, program)
    return _parse_options(Config, f"{program} --config {name}", fields, default=load_config(name))


def load_config(name: str | Path) -> Config:
    """The `get_config()` of a Python file.

    Args:
        name: path of the file; or the name of a configuration that comes with hmr_jax, such as "quickstart" or
            "configs/quickstart.py".

    Raises:
        FileNotFoundError: naming the nearest one.
        ValueError: if the file cannot be run, has no `get_config()`, or a value has a wrong type or range.
    """
    path = _find_config(Path(name))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except (SyntaxError, TypeError, NameError, AttributeError) as error:  # of the user's own code
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{path}, line {line}," if line else f"{path}"
        raise ValueError(f"{where} cannot be run: {getattr(error, 'msg', None) or error}.") from error
    if not isinstance(config, Config):
        raise ValueError(f"{path} defines no get_config() that returns a hmr_jax.config.Config.")
    check_types(config)
    check_ranges(config)
    return config


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Prints an expected error as one line and exits with 2; HMR_JAX_DEBUG=1 shows the traceback instead."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a file's name is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
    except (ValueError, FloatingPointError, LookupError, OSError, ImportError) as error:
        if os.environ.get("HMR_JAX_DEBUG"):
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, AssertionError):  # as jax has it, by its version, if it finds no device of a kind
        platforms = os.environ.get("JAX_PLATFORMS")
        if os.environ.get("HMR_JAX_DEBUG") or not platforms or _has_devices():
            raise
        text = f"JAX_PLATFORMS is {platforms}, but jax finds no such device: unset it, or name cpu."
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)


def _has_devices() -> bool:
    import jax

    try:
        return bool(jax.devices())
    except (RuntimeError, AssertionError):
        return False


def _parse_options(target: Any, program: str, arguments: Sequence[str], **options: Any) -> Any:
    """`tyro.cli`, with its messages as errors of one sentence."""
    parser = functools.partial(tyro.cli, target, prog=program, args=list(arguments), **options)
    if {"-h", "--help"} & set(arguments):
        return parser()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return parser()
    except SystemExit as end:
        if not end.code:
            print(said.getvalue(), end="")  # of an option that only prints something
            raise
    raise ValueError(f"{_one_sentence(said.getvalue())} ({program} --help lists the options.)")


def _one_sentence(message: str) -> str:
    """A message of tyro: a title and paragraphs between rules, each with a list of options or without."""
    _, *paragraphs = re.split(r"^ *-{5,} *$", message, flags=re.MULTILINE)
    sentences, meant = [], []
    for paragraph in paragraphs:
        items = re.findall(r"^ {6}(\S.*?) *$", paragraph, re.MULTILINE)
        if "Perhaps you meant" in paragraph:
            meant += [item.split()[0] for item in items]
        elif not re.match(r"\s*(For full|Argument) helptext", paragraph):
            head = " ".join(re.findall(r"^ {2}(\S.*?) *$", paragraph, re.MULTILINE))
            sentences.append(f"{head} {', '.join(items)}".strip().rstrip("."))
    hint = f"; did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else "."
    return "; ".join(filter(None, sentences)) + hint


def _named_config(arguments: Sequence[str], program: str, others: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The value of --config and the other arguments; help or an error without one. `others` are further options."""
    name, options = _take_config(arguments)
    if name:
        return name, options
    if {"-h", "--help"} & set(arguments):
        print(_usage(program, others))
        sys.exit(0)
    raise ValueError(f"name a configuration file first: {program} --config FILE [--FIELD VALUE ...]")


def _take_config(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The value of --config, "" where there is none, and the other arguments."""
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option == "--config":
            after = place + 1 if equals else place + 2
            name = value if equals else "".join(arguments[place + 1 : after])
            return ("" if name.startswith("-") else name), [*arguments[:place], *arguments[after:]]
    return "", list(arguments)


def _find_config(path: Path) -> Path:
    if path.is_file():
        return path
    by_name = path.parent in (Path(), Path("configs")) and path.suffix in ("", ".py")
    shipped = {str(path.with_name(file.stem + path.suffix)): file for file in _shipped()} if by_name else {}
    if str(path) in shipped:
        return shipped[str(path)]
    beside = [str(file) for file in path.parent.glob("*.py")] if path.suffix else []
    nearest = difflib.get_close_matches(str(path), sorted({*shipped, *beside}), 1, 0.3)
    names = ", ".join(file.stem for file in _shipped())
    hint = f"did you mean {nearest[0]}?" if nearest else f"name a file, or one of {names}."
    raise FileNotFoundError(f"There is no configuration {path}; {hint}")


def _shipped() -> list[Path]:
    return sorted(SHIPPED.glob("*.py"))


def _usage(program: str, others: Sequence[str]) -> str:
    """Help for who has named no configuration yet."""
    titles = {file.stem: (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0] for file in _shipped()}
    return "\n".join([
        f"usage: {program} --config FILE [--FIELD VALUE ...]",
        "",
        "FILE is a Python file with a function get_config(), or the name of a configuration that comes with hmr_jax:",
        *(f"  {name:<20} {title}" for name, title in titles.items()),
        "",
        "Every field of the configuration is an option, e.g. --steps 3000 --optim.learning-rate 3e-4.",
        *(["Further options: " + ", ".join(f"--{name.replace('_', '-')}" for name in others)] if others else []),
        f"{program} --config FILE --help lists all fields: type, value in this configuration, and meaning.",
    ])  # fmt: skip
