"""Whether the values of a configuration have the types of their fields, and make sense."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hmr_jax.config.experiment import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DatasetConfig,
    DepthCorruptionConfig,
    FeatureCacheConfig,
    LossConfig,
    MeshConfig,
    OptimConfig,
)
from hmr_jax.config.model import D2AConfig, DecoderConfig, EncoderConfig, ModelConfig


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
        kinds = get_args(hint)
        if Ellipsis not in kinds and len(value) != len(kinds):
            raise ValueError(f"{name} must be {len(kinds)} values, not {value!r}.")
        for number, item in enumerate(value):
            _check(item, kinds[0], f"{name}[{number}]")
    elif get_origin(hint) is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(hint)))}, not {value!r}.")
    elif hint is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {value!r}.")
    elif hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, not {value!r}.")
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, not {value!r}.")
    elif hint is int and not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number without a decimal point, not {value!r}.")
    elif not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}.")


# By class: the fields that must be at least 1, at least 0, from 0 to 1, and at least 0 but below 1; so each of a tuple.
_LOSSES = tuple(field.name for field in dataclasses.fields(LossConfig) if field.name != "rle_compat")
_RANGES: dict[type, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    Config: (("steps", "batch_size", "log_every"), ("seed", "eval_every", "eval_examples"), (), ()),
    LossConfig: ((), _LOSSES, (), ()),
    OptimConfig: (
        ("accumulate",), ("learning_rate", "warmup_steps", "weight_decay", "clip_norm", "encoder_scale"),
        ("final_fraction",), ("ema",),
    ),
    AugmentConfig: (
        (), ("rotation", "shift"),
        ("color", "rotation_probability", "flip_probability", "extreme_crop_probability", "upright_probability"),
        ("scale",),
    ),
    DepthCorruptionConfig: ((), ("scale", "shift", "blur", "noise"), ("background", "missing", "absent"), ()),
    DatasetConfig: ((), ("weight",), (), ()),
    DataConfig: (("crop_size", "stored_size", "dense_size", "uses"), ("workers", "processes"), (), ("three_dpw",)),
    FeatureCacheConfig: ((), ("examples", "limit_gib"), (), ()),
    MeshConfig: (("fsdp",), ("min_shard_size",), (), ()),
    CheckpointConfig: (("every", "keep"), (), (), ()),
    EncoderConfig: (
        ("image_size", "patch_size", "dim", "depth", "num_heads", "mlp_ratio", "maps", "map_stride"), (), (),
        ("drop_path",),
    ),
    DecoderConfig: (
        (
            "dim", "depth", "num_heads", "head_dim", "mlp_dim", "offset_groups", "offset_kernel", "offset_stride",
        ), ("feature_dim", "feature_noise"), (), ("dropout", "feature_drop"),
    ),
    D2AConfig: (
        ("dim", "depth", "num_heads", "mlp_dim", "head_dim", "head_depth", "head_heads", "silhouette"), (),
        ("mask_ratio",), ("dropout",),
    ),
    ModelConfig: ((), (), (), ()),
}  # fmt: skip
_GOOD: dict[str, Callable[[float], bool]] = {
    "at least 1": lambda number: number >= 1,
    "at least 0": lambda number: number >= 0,
    "from 0 to 1": lambda number: 0 <= number <= 1,
    "at least 0 and below 1": lambda number: 0 <= number < 1,
}


def check_ranges(config: Any, name: str = "") -> None:
    """Raises ValueError for a number of a configuration, or of a part of it called `name`, with which nothing runs."""
    for (words, is_good), names in zip(_GOOD.items(), _RANGES[type(config)], strict=True):
        for field in names:
            value = getattr(config, field)
            if not all(map(is_good, value if isinstance(value, tuple | list) else (value,))):
                raise ValueError(f"{name}{field} is {value}, but must be {words}.")
    for field in (field.name for field in dataclasses.fields(config)):
        value = getattr(config, field)
        for part in value if isinstance(value, tuple | list) else (value,):
            if dataclasses.is_dataclass(part):
                check_ranges(part, f"{name}{field}.")
    if isinstance(config, EncoderConfig) and config.name == "vit":
        _check_multiple(config, name, "dim", "num_heads")
        _check_multiple(config, name, "image_size", "patch_size")
    if isinstance(config, D2AConfig):
        _check_multiple(config, name, "dim", "num_heads")
        _check_multiple(config, name, "head_dim", "head_heads")
    if isinstance(config, ModelConfig) and (config.name == "dense" or config.dense_targets):
        encoder = config.encoder
        if encoder.name == "vit" and encoder.patch_size % 4:  # dense maps have cells of 4 px
            raise ValueError(
                f"{name}encoder.patch_size is {encoder.patch_size}, but with dense maps it must be a multiple of 4."
            )
    if isinstance(config, ModelConfig) and config.focal_length <= 0:
        raise ValueError(f"{name}focal_length is {config.focal_length}, but must be positive.")


def _check_multiple(config: Any, name: str, whole: str, part: str) -> None:
    value, divisor = getattr(config, whole), getattr(config, part)
    if any(number % divisor for number in (value if isinstance(value, tuple | list) else (value,))):
        raise ValueError(f"{name}{whole} is {value}, but must be a multiple of {name}{part}, {divisor}.")


def check_training(config: Config) -> None:
    """Raises ValueError for a value of another type, or a number with which no run can start."""
    check_types(config)
    check_ranges(config)
    profile = config.profile
    if profile and (len(profile) != 2 or not 0 <= profile[0] <= profile[1] < config.steps):
        raise ValueError(
            f"profile names the first and the last step of a trace, such as 10 15, below steps ({config.steps}), not "
            f"{' '.join(map(str, profile))}."
        )
