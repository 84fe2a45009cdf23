"""The state from which training starts: initial parameters, or those of the run's last whole checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from hmr_jax import distributed
from hmr_jax.batch import zeros
from hmr_jax.checkpoints import SHIPPED, load_initial, runs
from hmr_jax.config import Config
from hmr_jax.models.encoders import encoded_zeros
from hmr_jax.models.parameters import Params, init_params, init_shapes, split_params
from hmr_jax.training.step import TrainState, init_state

Say = Callable[[str], None]


def initial_state(config: Config, model: nn.Module, mesh: Mesh, run: Path) -> tuple[TrainState, Params]:
    """State at step 0 and frozen parameters, made on the devices with their shardings; the latter are saved too.

    Raises:
        FileNotFoundError: there is no checkpoint `config.init_from`.
        ValueError: its parameters do not fit, or frozen parameters would be random.
    """
    key, size = jax.random.key(config.seed), config.data.crop_size
    example = zeros(1, size)
    if config.init_from in SHIPPED:  # whose encoder needs no initial values
        example |= encoded_zeros(config.model, size)
    shapes = init_shapes(model, key, example)
    loaded = load_initial(config, shapes)
    known = {name: loaded[name] for name in shapes}  # what is loaded is not made before
    params = loaded | init_params(model, key, example, lambda tree: _shardings(config, mesh, tree), known)
    trained, frozen = split_params(params, config.optim.frozen)
    frozen = jax.device_put(frozen, _shardings(config, mesh, frozen))
    trained = jax.device_put(trained, _shardings(config, mesh, trained))
    runs.save_frozen(run, frozen)

    def init(trained: Params) -> TrainState:
        return init_state(config, trained)

    shardings = _shardings(config, mesh, jax.eval_shape(init, trained))
    return jax.jit(init, donate_argnums=0, out_shardings=shardings)(trained), frozen


def resumed_state(
    config: Config, model: nn.Module, mesh: Mesh, run: Path, manager: ocp.CheckpointManager, say: Say
) -> tuple[TrainState, Params]:
    """State of the last checkpoint that can be read, and the frozen parameters that the run was started with.

    Checkpoints after it that cannot be read are moved to the run's folder "damaged".

    Raises:
        ValueError: no checkpoint can be read, or the frozen parameters cannot.
    """
    shapes = init_shapes(model, jax.random.key(config.seed), zeros(1, config.data.crop_size))
    trained, frozen = split_params(shapes, config.optim.frozen)
    frozen = runs.restore_frozen(run, _placeholders(frozen, _shardings(config, mesh, frozen)))
    _compare_with_source(config, shapes, frozen, say)
    state = jax.eval_shape(lambda params: init_state(config, params), trained)
    state = _placeholders(state, _shardings(config, mesh, state))
    steps = runs.steps(run)
    for step in reversed(steps):
        items, reason = None, ""
        try:
            items = runs.restore(manager, state.items(), step)
        except ValueError as error:
            reason = str(error)
        if distributed.all_agree(items is not None):
            assert items is not None
            return state.with_items(items), frozen
        if step == steps[0]:
            raise ValueError(f"{reason or f'Another host cannot read step {step}.'} No other checkpoint is whole.")
        if jax.process_index() == 0:
            say(f"{reason}\nIt is now {runs.set_aside(run, step)}; training goes on from an earlier checkpoint.")
        distributed.agree(0)
        manager.reload()
    raise AssertionError("a run to resume has a checkpoint")


def _shardings(config: Config, mesh: Mesh, tree: Any) -> Any:
    return distributed.parameter_sharding(mesh, tree, config.mesh.min_shard_size)


def _placeholders(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), tree, shardings)


def _compare_with_source(config: Config, shapes: Params, frozen: Params, say: Say) -> None:
    """Says so if `config.init_from` no longer holds the frozen parameters that the run was started with."""
    if not frozen or not config.init_from:
        return
    try:
        source = split_params(load_initial(config, shapes), config.optim.frozen)[1]
    except (OSError, ValueError) as error:
        say(f"note: the run's own frozen parameters are used; init_from cannot be read any more: {error}")
        return
    same = jax.tree.map(lambda a, b: isinstance(a, jax.ShapeDtypeStruct) or np.array_equal(a, b), source, frozen)
    changed = [name for name, group in same.items() if not all(jax.tree.leaves(group))]
    if changed:
        say(
            f"note: {', '.join(changed)} in {config.init_from} changed since the run was started; its own frozen "
            "parameters are used."
        )
