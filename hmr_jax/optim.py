"""The optimiser: AdamW with warm-up and cosine decay, and which parameters it sees."""

from typing import Any

import jax
import optax

from hmr_jax.config import Config, OptimConfig

Params = dict[str, Any]


def split_params(params: Params, frozen: tuple[str, ...]) -> tuple[Params, Params]:
    """Top-level groups -> (trained, frozen). A name that is not a group raises ValueError."""
    for name in frozen:
        if name not in params:
            raise ValueError(f"optim.frozen names '{name}', but the model's groups are {', '.join(params)}.")
    trained = {name: group for name, group in params.items() if name not in frozen}
    if not trained:
        raise ValueError("optim.frozen names every group of the model: nothing is left to train.")
    return trained, {name: params[name] for name in frozen}


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
    """Clipping, AdamW with decay on kernels only, and a factor on the encoder's step."""
    return optax.chain(
        optax.clip_by_global_norm(config.optim.clip_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.optim.weight_decay, mask=_is_kernel),
        optax.masked(optax.scale(config.optim.encoder_scale), lambda tree: _is_in(tree, "encoder")),
        optax.scale_by_learning_rate(learning_rate(config)),
    )


def update_ema(optim: OptimConfig, ema: Params | None, params: Params) -> Params | None:
    """One step of the moving average of the parameters, or None where it is off."""
    if ema is None:
        return None
    return optax.incremental_update(params, ema, 1 - optim.ema)


def _is_kernel(tree: Params) -> Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", tree)


def _is_in(tree: Params, group: str) -> Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == group, tree)
