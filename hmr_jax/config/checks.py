"""Whether the values of a configuration have the types of their fields, and make sense."""

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hmr_jax.config.experiment import Config


def check_types(config: Any, name: str = "") -> None:
    """Checks that tuples are tuples, text is text, numbers are numbers, and parts are of their classes.

    Args:
        config: a dataclass of `hmr_jax.config`.
        name: of it in messages; "": the whole configuration.

    Raises:
        ValueError: naming the first field whose value has another type.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        _check(getattr(config, field.name), hints[field.name], f"{name}.{field.name}" if name else field.name)


def _check(value: Any, hint: Any, name: str) -> None:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, hint):  # type: ignore[arg-type]
            raise ValueError(f"{name} must be a {hint.__name__}, not {value!r}.")  # type: ignore[union-attr]
        check_types(value, name)
    elif get_origin(hint) is tuple:
        if not isinstance(value, tuple | list):
            raise ValueError(f"{name} must be a tuple, not {value!r}: one of a single item needs a comma, (item,).")
        for number, item in enumerate(value):
            _check(item, get_args(hint)[0], f"{name}[{number}]")
    elif get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(hint)))}, not {value!r}.")
    elif hint is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {value!r}.")
    elif hint in (int, float):
        if isinstance(value, str | bool) or not hasattr(value, "__float__"):
            raise ValueError(f"{name} must be a number, not {value!r}.")


def check_training(config: Config) -> None:
    """Raises ValueError for a value of another type, or a number with which no run can start."""
    check_types(config)
    positive = {
        "steps": config.steps, "batch_size": config.batch_size, "log_every": config.log_every,
        "optim.accumulate": config.optim.accumulate, "checkpoint.every": config.checkpoint.every,
        "checkpoint.keep": config.checkpoint.keep, "mesh.fsdp": config.mesh.fsdp,
    }  # fmt: skip
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, but must be at least 1.")
    for name in ("eval_every", "eval_examples"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} is {getattr(config, name)}, but must be at least 0.")
    profile = config.profile
    if profile and (len(profile) != 2 or not 0 <= profile[0] <= profile[1] < config.steps):
        raise ValueError(
            f"profile names the first and the last step of a trace, such as 10 15, below steps ({config.steps}), not "
            f"{' '.join(map(str, profile))}."
        )
