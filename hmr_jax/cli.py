"""What the command lines share: configurations from files with typed overrides, and errors as one sentence."""

import contextlib
import difflib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from hmr_jax.config import Config


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Prints an expected error as one line and exits with 2; HMR_JAX_DEBUG=1 shows the traceback instead."""
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


def load_config(path: str | Path) -> Config:
    """The `get_config()` of a Python file.

    Raises:
        FileNotFoundError: naming the nearest file of the folder.
        ValueError: if the file has no `get_config()`.
    """
    path = Path(path)
    if not path.is_file():
        there = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        nearest = difflib.get_close_matches(str(path), there, 1, 0.3)
        hint = f"; did you mean {nearest[0]}?" if nearest else "."
        raise FileNotFoundError(f"There is no configuration {path}{hint}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} defines no get_config() that returns a hmr_jax.config.Config.")
    return module.get_config()


def parse_config(arguments: Sequence[str], program: str) -> Config:
    """`--config FILE` and then any field, e.g. `--optim.learning-rate 3e-4`; unknown ones are errors."""
    if "--config" not in arguments[:1] or len(arguments) < 2:
        usage = f"usage: {program} --config configs/NAME.py [--FIELD VALUE ...]   (--help after the file: all fields)"
        raise ValueError(f"name a configuration file first.\n{usage}")
    return tyro.cli(Config, prog=program, default=load_config(arguments[1]), args=list(arguments[2:]))
