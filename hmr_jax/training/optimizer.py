"""The optimiser: AdamW or Muon, with warm-up and cosine decay or a constant rate."""

from collections.abc import Callable

import flax
import jax
import jax.numpy as jnp
import optax
import optax.contrib

from hmr_jax.config import Config, OptimConfig
from hmr_jax.models.parameters import Params


def learning_rate(config: Config) -> optax.Schedule:
    """Optimiser step -> learning rate."""
    optim, warmup = config.optim, min(config.optim.warmup_steps, config.steps // 2)
    if optim.schedule == "constant":
        rise = optax.linear_schedule(0.0, optim.learning_rate, warmup)
        return optax.join_schedules([rise, optax.constant_schedule(optim.learning_rate)], [warmup])
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=optim.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(config.steps, 2),
        end_value=optim.learning_rate * optim.final_fraction,
    )


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping, AdamW or Muon with weight decay, on kernels only by default, and a factor on the encoder's steps.

    Its state is for stacks of parameters, see `_on_stacks`.
    """
    optim = config.optim
    return _on_stacks(
        optax.chain(
            optax.clip_by_global_norm(optim.clip_norm) if optim.clip_norm else optax.identity(),
            optax.scale_by_adam() if optim.name == "adamw" else _scale_by_muon(),
            optax.add_decayed_weights(optim.weight_decay, mask=None if optim.decay_all else _under("matrix", "kernel")),
            optax.masked(optax.scale(optim.encoder_scale), _under("encoder")),
            optax.scale_by_learning_rate(learning_rate(config)),
        )
    )


def _scale_by_muon() -> optax.GradientTransformation:
    """Orthogonalised momentum on matrices, scaled to the size of Adam's steps (Liu et al. 2025); Adam on the rest."""
    axes = optax.contrib.MuonDimensionNumbers(-2, -1)

    def matrices(stacks: Params) -> Params:
        return jax.tree.map(lambda wanted: axes if wanted else None, _under("matrix")(stacks))

    # With a rate of -1 the transformation returns directions, as scale_by_adam does.
    return optax.contrib.muon(-1.0, muon_weight_dimension_numbers=matrices, consistent_rms=0.2)


def _on_stacks(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Stacks arrays of the same shape and role along a new first axis before the optimiser sees them.

    A small network has hundreds of arrays. Updated one by one, they need a kernel per operation and array: half of the
    program of a training step, and half of its compilation time. optax's own `optax.flatten` (for Adam) and
    `optax.partition` (beside Muon) keep a kernel per matrix: with them the first step of configs/quickstart.py takes
    two to three times as long.
    """

    def init(params: Params) -> optax.OptState:
        return inner.init(_stack(params))

    def update(updates: Params, state: optax.OptState, params: Params | None = None) -> tuple[Params, optax.OptState]:
        stacked, state = inner.update(_stack(updates), state, None if params is None else _stack(params))
        # Without the barrier XLA recomputes a whole stack in the kernel of each of its rows.
        return _unstack(jax.lax.optimization_barrier(stacked), updates), state

    return optax.GradientTransformation(init, update)


def _stack(tree: Params) -> Params:
    """Leaves -> {"stacked": {group: {role: {depth: {shape: (n, *shape)}}}}}; see `_stack_of`."""
    lists: dict[tuple[str, ...], list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        lists.setdefault(_stack_of(path, leaf), []).append(leaf)
    return flax.traverse_util.unflatten_dict({stack: jnp.stack(leaves) for stack, leaves in lists.items()})


def _unstack(stacked: Params, like: Params) -> Params:
    """The inverse of `_stack` for a tree that was stacked."""
    rows = {name: iter(stack) for name, stack in flax.traverse_util.flatten_dict(stacked).items()}
    return jax.tree_util.tree_map_with_path(lambda path, leaf: next(rows[_stack_of(path, leaf)]), like)


MUON_GROUPS = ("encoder", "decoder", "fusion", "regressor")
"""Modules whose matrices Muon orthogonalises: transformers. "regressor" is inside D2A-HMR's head."""
ADAM_GROUPS = ("head", "scale", "flow", "dense", "silhouette", "depth_skip", "depth_encoder")
"""Top-level modules that Adam trains: heads, convolutions, and the encoder of depth maps."""


def _stack_of(path: tuple, leaf: jax.Array) -> tuple[str, ...]:
    """The name of a parameter's stack; all parameters of a stack are updated by the same rule.

    Raises:
        ValueError: if the parameter's group is in neither of the lists above.
    """
    names = [key.key for key in path]
    if names[0] not in (*MUON_GROUPS, *ADAM_GROUPS):
        raise ValueError(
            f"The optimiser does not know the parameter group '{names[0]}': name it in MUON_GROUPS or ADAM_GROUPS of "
            "hmr_jax/training/optimizer.py."
        )
    role = "kernel" if names[-1] == "kernel" else "other"
    if role == "kernel" and leaf.ndim in (2, 3) and any(name in MUON_GROUPS for name in names):
        role = "matrix"  # of a transformer; a third axis is that of its blocks
    group = "encoder" if names[0] == "encoder" else "rest"
    depth = "blocks" if "blocks" in names else "single"
    return "stacked", group, role, depth, "x".join(map(str, leaf.shape)) or "scalar"


def _under(*names: str) -> Callable[[Params], Params]:
    """Tree of stacks -> tree of booleans: whether a stack is under one of these names."""
    return lambda stacks: jax.tree_util.tree_map_with_path(
        lambda path, _: any(key.key in names for key in path), stacks
    )


def update_ema(optim: OptimConfig, ema: Params | None, params: Params) -> Params | None:
    """One step of the moving average of the parameters; None if it is off."""
    if ema is None:
        return None
    return optax.incremental_update(params, ema, 1 - optim.ema)
