"""Checkpoints: all that touches Orbax, and the folders that inference loads.

A run's folder holds

    config.json            the experiment
    frozen/                parameters that are not trained, written once
    checkpoints/<step>/    items `params` (trained), `train` (optimiser, averages), `config`, `data`
    metrics.jsonl          the log

An exported folder, as the package ships them, holds config.json and params.npz (all parameters, float16). A converted
one, as `python -m hmr_jax.weights.convert` writes it, holds config.json, params/ and source.json: where it is from.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.converted import BACKBONE, is_converted, load_converted, load_network
from hmr_jax.json_files import read_json, write_json
from hmr_jax.models.variables import STATISTICS
from hmr_jax.optim import Params, merge
from hmr_jax.plain_arrays import read_item
from hmr_jax.steps import TrainState

ASSETS = Path(__file__).parent / "assets"
SHIPPED_ENCODER = ASSETS / "encoder_tiny"
SHIPPED_MODEL = ASSETS / "deforhmr_small"


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


def save(manager: ocp.CheckpointManager, config: Config, state: TrainState, metrics: dict[str, float] | None) -> None:
    """Writes one checkpoint in the background; a half-written one is never taken for a whole one."""
    step = int(state.step)
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(_trained(state)),  # type: ignore[call-arg]
        train=ocp.args.StandardSave(_rest(state)),  # type: ignore[call-arg]
        config=ocp.args.JsonSave(to_dict(config)),  # type: ignore[call-arg]
        data=ocp.args.JsonSave({"step": step, "seed": config.seed}),  # type: ignore[call-arg]
    )
    if step not in manager.all_steps() and not manager.save(step, args=items, metrics=metrics):
        raise OSError(f"The checkpoint of step {step} was not written.")


def restore(manager: ocp.CheckpointManager, state: TrainState) -> TrainState:
    """The latest checkpoint, placed as the arrays (or shaped placeholders with shardings) of `state` are."""
    step = manager.latest_step()
    items = ocp.args.Composite(
        params=ocp.args.StandardRestore(_trained(state)),  # type: ignore[call-arg]
        train=ocp.args.StandardRestore(_rest(state)),  # type: ignore[call-arg]
    )
    try:
        restored = manager.restore(step, args=items)
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint of step {step} in {manager.directory} cannot be read: {error}") from error
    params = dict(restored["params"])
    statistics = params.pop(STATISTICS, {})
    return dataclasses.replace(state, params=params, batch_stats=statistics, **restored["train"])


def _trained(state: TrainState) -> Params:
    """Parameters and, where there are any, running statistics: what prediction needs of a state."""
    return state.params | ({STATISTICS: state.batch_stats} if state.batch_stats else {})


def _rest(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state, "ema": state.ema}


def save_frozen(run: Path, frozen: Params) -> None:
    """Writes the parameters that training does not change, once."""
    directory = (run / "frozen").resolve()
    if frozen and not directory.exists():
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(directory, frozen)


def load_for_inference(directory: str | Path | None) -> tuple[Config, Params]:
    """Configuration and all parameters, as NumPy arrays, from a folder.

    Args:
        directory: a run's folder (its best checkpoint by the configured metric, else the latest), one of its
            checkpoints, an exported or converted folder, or None for the shipped model.

    Raises:
        FileNotFoundError: if there is no checkpoint in the folder.
        ValueError: if there is one that cannot be read.
    """
    run, step = _locate(directory)
    if step is None:
        return load_converted(run) if is_converted(run) else _load_exported(run)
    config = from_dict(read_json(run / "config.json"))
    path = run / "checkpoints" / str(step)
    try:
        params = read_item(path / "params")
        if config.optim.ema:
            params |= read_item(path / "train")["ema"]
        if config.optim.frozen:
            params = merge(params, read_item(run / "frozen"))
    except Exception as error:
        raise ValueError(f"The checkpoint {path} cannot be read; was it damaged or cut off? ({error})") from error
    return config, params


def describe(directory: str | Path | None) -> dict[str, Any]:
    """Which checkpoint `load_for_inference` takes: its folder's name and its step (None for an exported folder)."""
    run, step = _locate(directory)
    return {"name": run.name, "step": step}


def _locate(directory: str | Path | None) -> tuple[Path, int | None]:
    """The run's or exported folder, and the step of a run."""
    folder = SHIPPED_MODEL if directory is None else Path(directory).resolve()
    if (folder / "params.npz").exists() or is_converted(folder):
        return folder, None
    if folder.name.isdigit() and folder.parent.name == "checkpoints":
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no checkpoint {folder}.")
        return folder.parent.parent, int(folder.name)
    if not (folder / "checkpoints").is_dir():
        raise FileNotFoundError(
            f"There is no checkpoint in {folder}: name a run's folder (it holds 'checkpoints'), one of its "
            "checkpoints, an exported folder (it holds 'params.npz') or a converted one (it holds 'params')."
        )
    config = from_dict(read_json(folder / "config.json"))
    with open_manager(folder, config, read_only=True) as manager:
        step = manager.best_step()
        step = manager.latest_step() if step is None else step
    if step is None:
        raise FileNotFoundError(f"{folder} holds no finished checkpoint: train for longer.")
    return folder, step


def export(directory: Path, config: Config, params: Params) -> None:
    """Writes config.json and params.npz (float16), whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    arrays = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    part = directory / "params.npz.part"
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    write_json(directory / "config.json", to_dict(config))
    os.replace(part, directory / "params.npz")


def _load_exported(directory: Path) -> tuple[Config, Params]:
    try:
        with np.load(directory / "params.npz", allow_pickle=False) as arrays:
            flat = {name: arrays[name].astype(np.float32) for name in arrays.files}
    except Exception as error:
        raise ValueError(f"{directory / 'params.npz'} cannot be read; was it damaged or cut off? ({error})") from error
    return from_dict(read_json(directory / "config.json")), flax.traverse_util.unflatten_dict(flat, sep="/")


def load_initial(config: Config, params: Params) -> Params:
    """Replaces initial parameter groups by those of `config.init_from`; shapes that differ raise ValueError."""
    if not config.init_from:
        return params
    source = SHIPPED_ENCODER if config.init_from == "encoder" else Path(config.init_from)
    loaded = _load_groups(source)
    wanted = set(config.init_groups or params) - {STATISTICS}
    if "depth_encoder" in wanted and "depth_encoder" not in loaded and "encoder" in loaded:
        shapes = [jax.tree.map(np.shape, tree) for tree in (params["depth_encoder"], loaded["encoder"])]
        # D2A-HMR draws both streams with one letter: equal networks start equal.
        loaded = _copy_group(loaded, "encoder", "depth_encoder") if shapes[0] == shapes[1] else loaded
    missing = [name for name in config.init_groups if name not in loaded or name not in params]
    if missing:
        raise ValueError(
            f"init_groups names {', '.join(missing)}, but {source} holds {', '.join(loaded)} and this model has "
            f"{', '.join(params)}."
        )
    taken = {name: group for name, group in loaded.items() if name in wanted}
    if not taken:
        raise ValueError(f"{source} holds {', '.join(loaded)}, none of which this model has ({', '.join(params)}).")
    statistics = {name: group for name, group in loaded.get(STATISTICS, {}).items() if name in taken}
    if STATISTICS in params:
        taken[STATISTICS] = params[STATISTICS] | statistics
    for name, group in taken.items():
        here, there = (flax.traverse_util.flatten_dict(tree, sep="/") for tree in (params[name], group))
        for key in sorted(set(here) | set(there)):
            shapes = [np.shape(tree[key]) if key in tree else None for tree in (here, there)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"'{name}/{key}' has shape {shapes[0]} in this model but {shapes[1]} in {source}.")
    return params | taken


def _copy_group(weights: Params, source: str, target: str) -> Params:
    copied = weights | {target: weights[source]}
    if source in weights.get(STATISTICS, {}):
        copied[STATISTICS] = weights[STATISTICS] | {target: weights[STATISTICS][source]}
    return copied


def _load_groups(source: Path) -> Params:
    """Parameter groups of any checkpoint that training can start from."""
    if is_converted(source) and BACKBONE in read_json(source / "config.json"):
        return load_network(source, BACKBONE)[1]
    return load_for_inference(source)[1]
