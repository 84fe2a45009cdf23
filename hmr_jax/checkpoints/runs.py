"""Checkpoints of a training run: everything that uses Orbax's manager."""

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hmr_jax.config import Config, to_dict
from hmr_jax.io import checksums
from hmr_jax.io.orbax_arrays import without_notices
from hmr_jax.models.parameters import Params

Items = Mapping[str, Any]
"""Trees of arrays by name: "params" (trained parameters) and "train" (what only training needs)."""

_args: Any = ocp.args  # dataclasses behind decorators: type checkers do not see their arguments
_AT_ONCE = 1  # GB of arrays that are copied from the devices, compressed and written at a time


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
    folder = (run / "checkpoints").resolve()
    with without_notices():
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies, best_fn=metric_of, best_mode="min", read_only=read_only,
            create=not read_only, cleanup_tmp_directories=not read_only,
            async_options=ocp.options.AsyncOptions(
                barrier_sync_fn=_meet_unless_failed, post_finalization_callback=lambda: _add_checksums(folder)
            ),
        )  # fmt: skip
        in_background = ocp.DefaultCheckpointHandlerRegistry()
        in_background.add(
            None, _args.PyTreeSave, ocp.PyTreeCheckpointHandler(save_device_host_concurrent_gb=_AT_ONCE,
                                                                is_prioritized_key_fn=lambda _: False)
        )  # fmt: skip
        return ocp.CheckpointManager(folder, options=options, handler_registry=in_background)


def _add_checksums(folder: Path) -> None:
    """Adds checksums to the files of the checkpoint that is about to be complete, in the thread that wrote it."""
    if jax.process_index() == 0:
        for item in folder.glob(f"*{ocp.path.atomicity.TMP_DIR_SUFFIX}*/*"):
            if item.is_dir():
                checksums.write_checksums(item)


def _meet_unless_failed(*, key: str, timeout_ms: int) -> None:
    """Waits for the other hosts, as Orbax does after a save; not after an error, for which they would wait in turn."""
    if error := sys.exception():
        raise error
    ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


def save(
    manager: ocp.CheckpointManager, config: Config, step: int, items: Items, metrics: dict[str, float] | None
) -> None:
    """Writes one checkpoint in the background; it counts only once it is complete. Waits for the save before.

    Args:
        manager: of the run.
        config: of the run; stored with the checkpoint.
        step: number of optimiser steps done.
        items: trees of arrays, which must not be donated: they are read until the checkpoint is complete.
        metrics: of the last validation, which select the best checkpoint; None: no validation since the last save.

    Raises:
        OSError: if the checkpoint was not written.
    """
    saved = _args.Composite(
        **{name: _args.PyTreeSave(tree) for name, tree in items.items()},
        config=_args.JsonSave(to_dict(config)),
        data=_args.JsonSave({"step": step, "seed": config.seed}),
    )
    finish(manager)
    with without_notices():
        written = step in manager.all_steps() or manager.save(step, args=saved, metrics=metrics)
    if not written:
        raise OSError(f"The checkpoint of step {step} was not written.")


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits for the last save.

    Raises:
        OSError: if the checkpoint was not written.
    """
    try:
        manager.wait_until_finished()
    except Exception as error:  # Orbax raises many types for disks that are full
        raise OSError(f"The last checkpoint was not written: {_first_line(error)}") from error


def restore(manager: ocp.CheckpointManager, items: Items, step: int | None = None) -> dict[str, Any]:
    """The items of a checkpoint, with the shapes and shardings of the arrays (or placeholders) given.

    Args:
        manager: of the run.
        items: trees of arrays or placeholders.
        step: of the checkpoint; None: the latest one.

    Raises:
        ValueError: if the checkpoint cannot be read.
    """
    step = manager.latest_step() if step is None else step
    wanted = _args.Composite(**{name: _args.StandardRestore(tree) for name, tree in items.items()})
    try:
        for name in items:
            checksums.verify_checksums(Path(manager.directory) / str(step) / name)
        with without_notices():
            restored = manager.restore(step, args=wanted)
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint of step {step} in {manager.directory} cannot be read: {error}") from error
    return {name: restored[name] for name in items}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def set_aside(run: Path, step: int) -> Path:
    """Moves a damaged checkpoint out of the way of a new one of the same step; returns where it is now."""
    target = _free_name(run / "damaged" / str(step))
    target.parent.mkdir(exist_ok=True)
    (run / "checkpoints" / str(step)).rename(target)
    return target


def _free_name(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}_{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], numbered) if not name.exists())


def steps(run: Path) -> list[int]:
    """Steps of a run's finished checkpoints, in order."""
    return sorted(int(path.name) for path in (run / "checkpoints").glob("*") if path.name.isdigit() and path.is_dir())


def last_step(run: Path) -> int:
    """Step of the last finished checkpoint; 0 if there is none."""
    return max(steps(run), default=0)


def save_frozen(run: Path, frozen: Params) -> None:
    """Writes the parameters that training does not change, in place of those of an earlier start."""
    if frozen:
        with without_notices(), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(_frozen(run), frozen, force=True)
        if jax.process_index() == 0:
            checksums.write_checksums(_frozen(run))


def restore_frozen(run: Path, frozen: Params) -> Params:
    """What `save_frozen` wrote, with the shapes and shardings of the placeholders given.

    Raises:
        ValueError: if it cannot be read.
    """
    if not frozen:
        return {}
    try:
        checksums.verify_checksums(_frozen(run))
        with without_notices(), ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(_frozen(run), frozen)
    except Exception as error:  # as above
        raise ValueError(
            f"The frozen parameters in {_frozen(run)} cannot be read; were they damaged or removed? ({error})"
        ) from error


def _frozen(run: Path) -> Path:
    return (run / "frozen").resolve()
