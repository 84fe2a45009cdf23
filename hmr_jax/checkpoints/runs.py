"""Checkpoints of a run under way: all that touches Orbax's manager."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hmr_jax.config import Config, to_dict
from hmr_jax.models.parameters import Params

Items = Mapping[str, Any]
"""Trees of arrays by the names of their items: "params" (trained parameters) and "train" (what only training needs)."""


def open_manager(run: Path, config: Config, read_only: bool = False) -> ocp.CheckpointManager:
    """Orbax's manager of a run's checkpoints: keeps the latest few and the best by the configured metric."""
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
    """Writes one checkpoint in the background; a half-written one is never taken for a whole one.

    Args:
        manager: of the run.
        config: of the run; stored with the checkpoint.
        step: optimiser steps done.
        items: trees of arrays.
        metrics: of the last validation, which tell the best checkpoint; None: there was none since the last save.
    """
    saved = ocp.args.Composite(
        **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},  # type: ignore[call-arg]
        config=ocp.args.JsonSave(to_dict(config)),  # type: ignore[call-arg]
        data=ocp.args.JsonSave({"step": step, "seed": config.seed}),  # type: ignore[call-arg]
    )
    if step not in manager.all_steps() and not manager.save(step, args=saved, metrics=metrics):
        raise OSError(f"The checkpoint of step {step} was not written.")


def restore(manager: ocp.CheckpointManager, items: Items) -> dict[str, Any]:
    """The items of the latest checkpoint, placed as the arrays (or shaped placeholders with shardings) given are."""
    step = manager.latest_step()
    wanted = ocp.args.Composite(
        **{name: ocp.args.StandardRestore(tree) for name, tree in items.items()}  # type: ignore[call-arg]
    )
    try:
        restored = manager.restore(step, args=wanted)
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint of step {step} in {manager.directory} cannot be read: {error}") from error
    return {name: restored[name] for name in items}


def save_frozen(run: Path, frozen: Params) -> None:
    """Writes the parameters that training does not change, once."""
    directory = (run / "frozen").resolve()
    if frozen and not directory.exists():
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(directory, frozen)
