"""Checkpoints of a training run: everything that uses Orbax's manager."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hmr_jax.config import Config, to_dict
from hmr_jax.models.parameters import Params

Items = Mapping[str, Any]
"""Trees of arrays by name: "params" (trained parameters) and "train" (what only training needs)."""

_args: Any = ocp.args  # dataclasses behind decorators: type checkers do not see their arguments


def open_manager(run: Path, config: Config, read_only: bool = False) -> ocp.CheckpointManager:
    """Orbax's manager of a run's checkpoints; it keeps the latest ones and the best by the configured metric."""
    metric = config.checkpoint.metric

    def metric_of(metrics: dict) -> float:
        return metrics[metric]

    policies = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(config.checkpoint.keep),
            checkpoint_managers.BestN(
                get_metric_fn=metric_of, reverse=True, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies, best_fn=metric_of, best_mode="min", read_only=read_only, create=not read_only,
    )  # fmt: skip
    return ocp.CheckpointManager((run / "checkpoints").resolve(), options=options)


def save(
    manager: ocp.CheckpointManager, config: Config, step: int, items: Items, metrics: dict[str, float] | None
) -> None:
    """Writes one checkpoint in the background; it counts only once it is complete.

    Args:
        manager: of the run.
        config: of the run; stored with the checkpoint.
        step: number of optimiser steps done.
        items: trees of arrays.
        metrics: of the last validation, which select the best checkpoint; None: no validation since the last save.

    Raises:
        OSError: if the checkpoint was not written.
    """
    saved = _args.Composite(
        **{name: _args.StandardSave(tree) for name, tree in items.items()},
        config=_args.JsonSave(to_dict(config)),
        data=_args.JsonSave({"step": step, "seed": config.seed}),
    )
    if step not in manager.all_steps() and not manager.save(step, args=saved, metrics=metrics):
        raise OSError(f"The checkpoint of step {step} was not written.")


def restore(manager: ocp.CheckpointManager, items: Items) -> dict[str, Any]:
    """The items of the latest checkpoint, with the shapes and shardings of the arrays (or placeholders) given.

    Raises:
        ValueError: if the checkpoint cannot be read.
    """
    step = manager.latest_step()
    wanted = _args.Composite(**{name: _args.StandardRestore(tree) for name, tree in items.items()})
    try:
        restored = manager.restore(step, args=wanted)
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint of step {step} in {manager.directory} cannot be read: {error}") from error
    return {name: restored[name] for name in items}


def save_frozen(run: Path, frozen: Params) -> None:
    """Writes the parameters that training does not change, unless they are there."""
    directory = (run / "frozen").resolve()
    if frozen and not directory.exists():
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(directory, frozen)
