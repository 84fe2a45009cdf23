"""Fuzzes the values of configurations: of a wrong type, out of range, or that do not fit one another.

    python tests/fuzz_configs.py --minutes 10

A file with get_config() ends in a ValueError of one sentence, or in a network whose shapes can be computed and an
optimiser that can be made. tests/test_fuzz_configs.py runs a bounded number of the same examples.
"""

import dataclasses
import functools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny
from fuzz_loop import run_for_minutes

from hmr_jax import cli
from hmr_jax.batch import zeros
from hmr_jax.config import Config, check_training
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_shapes, split_params
from hmr_jax.training.step import init_state

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_configs_")  # until the process ends
FOLDER = Path(_KEPT.name)
VALUES = (
    "0", "1", "-1", "2", "3", "7", "16", "100000", "1e5", "0.5", "1.0", "1.5", "-0.1", "1e300", "float('nan')",
    "float('inf')", "None", "True", "False", "''", "'a'", "'1'", "'no'", "()", "(0,)", "(1, 2)", "(32, 32)",
    "(1, 2, 3)", "(16, -16)", "('a',)", "('encoder',)", "[]", "[1]", "{}", "b'a'", "1j", "object()", "'encoder'",
    "(None,)", "('mask', 'mask')", "'deforhmr'", "'d2a_hmr'", "'dense'", "'vit'", "'conv'", "'single'", "'plain'",
    "'smpl'", "'muon'", "'gather'", "'dat'", "'blazepose_full'",
)  # fmt: skip
LARGE = 1 << 12  # larger networks are right and slow


def fields(config: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every field of a configuration and its parts."""
    found = []
    for field in dataclasses.fields(config):
        found.append((*path, field.name))
        value = getattr(config, field.name)
        found += fields(value, found[-1]) if dataclasses.is_dataclass(value) else []
    return found


def replaced(config: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    inner = replaced(getattr(config, first), tuple(rest), value) if rest else value
    return dataclasses.replace(config, **{first: inner})


BASES = {"deforhmr": tiny.MODEL, "d2a_hmr": tiny.D2A, "dense": dataclasses.replace(tiny.MODEL, name="dense")}


def alike(config: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `VALUES` that are of the type of a field's value."""
    kind = type(functools.reduce(getattr, path, config))
    return tuple(value for value in VALUES if isinstance(eval(value), kind)) or VALUES


def file_of(rng: random.Random) -> str:
    """A configuration file with a few changed values."""
    base = rng.choice(sorted(BASES))
    config = tiny.config("out", model=BASES[base])
    paths = fields(config)
    lines = [
        "import tiny", "from fuzz_configs import BASES, replaced", "", "", "def get_config():",
        f"    config = tiny.config('out', model=BASES[{base!r}])",
    ]  # fmt: skip
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(paths)
        value = rng.choice(alike(config, path) if rng.random() < 0.7 else VALUES)
        lines.append(f"    config = replaced(config, {path!r}, {value})")
    return "\n".join([*lines, "    return config", ""])


def is_large(config: Config) -> bool:
    """Whether a part of the network has more units than a test should have."""
    parts = (config.model.encoder, config.model.decoder, config.model.d2a, config.model.d2a.depth_encoder, config.data)
    numbers = (getattr(part, field.name) for part in parts for field in dataclasses.fields(part))
    flat = (item for value in numbers for item in (value if isinstance(value, tuple) else (value,)))
    return any(isinstance(number, int | float) and number > LARGE for number in flat) or (
        max(config.model.encoder.depth, config.model.decoder.depth, config.model.d2a.depth) > 64
    )


def check(text: str) -> bool:
    """Loads a file; returns whether there was a network rather than an error."""
    path = FOLDER / "mine.py"
    path.write_text(text)
    try:
        config = cli.load_config(path)
        check_training(config)
        if is_large(config):
            return True
        shapes = init_shapes(build_model(config.model), jax.random.key(config.seed), zeros(1, config.data.crop_size))
        trained, _ = split_params(shapes, config.optim.frozen)
        jax.eval_shape(functools.partial(init_state, config), trained)
    except (ValueError, OSError) as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message, message
    return False


def one(seed: int) -> bool:
    """Checks an example; returns whether there was a network."""
    text = file_of(random.Random(seed))
    try:
        return check(text)
    except BaseException:
        print(f"seed {seed}\n{text}", file=sys.stderr)
        raise


def main() -> None:
    run_for_minutes(__doc__, ("configuration",), lambda _, seed: one(seed))


if __name__ == "__main__":
    main()
