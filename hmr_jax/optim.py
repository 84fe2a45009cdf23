"""The optimiser: AdamW or Muon with warm-up and cosine decay, and which parameters it sees."""

from collections.abc import Callable
from typing import Any

import jax
import optax
import optax.contrib

from hmr_jax.config import Config, OptimConfig
from hmr_jax.models.variables import STATISTICS

Params = dict[str, Any]


def split_params(weights: Params, frozen: tuple[str, ...]) -> tuple[Params, Params]:
    """Top-level groups, each with its BatchNorm statistics -> (trained, frozen).

    Raises:
        ValueError: if a name is not a group, or every group is frozen.
    """
    groups = [name for name in weights if name != STATISTICS]
    for name in frozen:
        if name not in groups:
            raise ValueError(f"optim.frozen names '{name}', but the model's groups are {', '.join(groups)}.")
    if not set(groups) - set(frozen):
        raise ValueError("optim.frozen names every group of the model: nothing is left to train.")

    def pick(wanted: Callable[[str], bool]) -> Params:
        picked = {name: weights[name] for name in groups if wanted(name)}
        statistics = {name: group for name, group in weights.get(STATISTICS, {}).items() if wanted(name)}
        return picked | ({STATISTICS: statistics} if statistics else {})

    return pick(lambda name: name not in frozen), pick(lambda name: name in frozen)


def merge(trained: Params, frozen: Params) -> Params:
    """The inverse of `split_params`."""
    statistics = trained.get(STATISTICS, {}) | frozen.get(STATISTICS, {})
    return trained | frozen | ({STATISTICS: statistics} if statistics else {})


def learning_rate(config: Config) -> optax.Schedule:
    """Optimiser step -> learning rate."""
    optim = config.optim
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=optim.learning_rate,
        warmup_steps=min(optim.warmup_steps, config.steps // 2),
        decay_steps=max(config.steps, 2),
        end_value=optim.learning_rate * optim.final_fraction,
    )


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping, AdamW or Muon with decay on kernels only, and a factor on the encoder's step."""
    return optax.chain(
        optax.clip_by_global_norm(config.optim.clip_norm),
        optax.scale_by_adam() if config.optim.name == "adamw" else _scale_by_muon(),
        optax.add_decayed_weights(config.optim.weight_decay, mask=_is_kernel),
        optax.masked(optax.scale(config.optim.encoder_scale), lambda tree: _is_in(tree, "encoder")),
        optax.scale_by_learning_rate(learning_rate(config)),
    )


def _scale_by_muon() -> optax.GradientTransformation:
    """Orthogonalised momentum on matrices, scaled to the size of Adam's steps (Liu et al. 2025); Adam on the rest."""

    def axes(tree: Params) -> Params:
        return jax.tree_util.tree_map_with_path(_matrix_axes, tree)

    # With a rate of -1 the transformation returns directions, as scale_by_adam does.
    return optax.contrib.muon(-1.0, muon_weight_dimension_numbers=axes, consistent_rms=0.2)


def _matrix_axes(path: tuple, leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
    """Input and output axes of a kernel inside a network, the blocks' axis apart; None: no such kernel."""
    hidden = path[-1].key == "kernel" and any(key.key in _INNER for key in path[:-1])
    return optax.contrib.MuonDimensionNumbers(-2, -1) if hidden and leaf.ndim in (2, 3) else None


_INNER = ("encoder", "decoder", "fusion", "regressor")  # the rest reads their tokens out, or has no matrices


def update_ema(optim: OptimConfig, ema: Params | None, params: Params) -> Params | None:
    """One step of the moving average of the parameters, or None where it is off."""
    if ema is None:
        return None
    return optax.incremental_update(params, ema, 1 - optim.ema)


def _is_kernel(tree: Params) -> Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", tree)


def _is_in(tree: Params, group: str) -> Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == group, tree)
