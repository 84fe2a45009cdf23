"""Loading parameters for inference and training from any kind of checkpoint folder."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import flax
import jax

from hmr_jax.checkpoints.converted import BACKBONE, is_converted, load_converted, load_network
from hmr_jax.checkpoints.exported import SHIPPED_MODEL, is_exported, load_exported, load_shipped_encoder
from hmr_jax.checkpoints.runs import open_manager, steps
from hmr_jax.config import Config, from_dict
from hmr_jax.io.json_files import read_json
from hmr_jax.io.orbax_arrays import read_item, read_part
from hmr_jax.models.parameters import STATISTICS, Params, merge

SHIPPED = ("encoder", "model")
"""Values of `init_from` that name what the package ships."""


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
        return load_converted(run) if is_converted(run) else load_exported(run)
    config = from_dict(read_json(run / "config.json"))
    path = run / "checkpoints" / str(step)
    try:
        params = read_item(path / "params")
        if config.optim.ema:
            params |= read_part(path / "train", "ema")
        if config.optim.frozen:
            params = merge(params, read_item(run / "frozen"))
    except Exception as error:
        others = ", ".join(str(other) for other in steps(run) if other != step)
        hint = f" Its run also holds the steps {others}." if others else ""
        raise ValueError(f"The checkpoint {path} cannot be read; was it damaged or cut off? ({error}){hint}") from error
    return config, params


def describe(directory: str | Path | None) -> dict[str, Any]:
    """The checkpoint that `load_for_inference` takes: its folder's name, and its step or None outside of runs."""
    run, step = _locate(directory)
    return {"name": run.name, "step": step}


def _locate(directory: str | Path | None) -> tuple[Path, int | None]:
    """The folder of a run with a step, or an exported or converted folder with None."""
    folder = SHIPPED_MODEL if directory is None else Path(directory).resolve()
    if is_exported(folder) or is_converted(folder):
        return folder, None
    if folder.name.isdigit() and folder.parent.name == "checkpoints":
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no checkpoint {folder}.")
        return folder.parent.parent, int(folder.name)
    inside = next((parent for parent in folder.parents if (parent / "checkpoints").is_dir()), None)
    if inside is not None and folder.is_relative_to(inside / "checkpoints"):
        raise FileNotFoundError(
            f"{folder} is a part of a run: name the run's folder {inside}, or one of its checkpoints."
        )
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


def load_initial(config: Config, params: Params) -> Params:
    """Replaces initial parameter groups by those of `config.init_from`.

    The shipped encoder is added where the initial parameters lack the group, see `models.encoders.encoded_zeros`.

    Args:
        config: `init_from`, `init_groups`, `model` and `optim` are read.
        params: initial parameters, or their shapes.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if groups are missing, none fits, shapes differ, or frozen groups would stay random.
    """
    if not config.init_from:
        check_frozen(config, params, set())
        return params
    source = Path(config.init_from)
    if config.init_from in SHIPPED:
        loaded = _load_shipped(config)
        params = params | {"encoder": loaded["encoder"]}  # the initial ones may lack it
    else:
        loaded = _load_groups(source)
    wanted = set(config.init_groups or params) - {STATISTICS}
    if "depth_encoder" in wanted and "depth_encoder" not in loaded and "encoder" in loaded:
        shapes = [
            jax.tree.map(lambda array: array.shape, tree) for tree in (params["depth_encoder"], loaded["encoder"])
        ]
        # D2A-HMR's figure gives both streams the same symbol: equal networks start from equal parameters.
        loaded = _copy_group(loaded, "encoder", "depth_encoder") if shapes[0] == shapes[1] else loaded
    missing = [name for name in config.init_groups if name not in loaded or name not in params]
    if missing:
        raise ValueError(
            f"init_groups names {', '.join(missing)}, but {source} holds {', '.join(loaded)} and this model has "
            f"{', '.join(params)}."
        )
    replaced = {name: group for name, group in loaded.items() if name in wanted}
    check_frozen(config, params, set(replaced))
    if not replaced:
        raise ValueError(f"{source} holds {', '.join(loaded)}, none of which this model has ({', '.join(params)}).")
    statistics = {name: group for name, group in loaded.get(STATISTICS, {}).items() if name in replaced}
    if STATISTICS in params:
        replaced[STATISTICS] = params[STATISTICS] | statistics
    for name, group in replaced.items():
        mine, theirs = (flax.traverse_util.flatten_dict(tree, sep="/") for tree in (params[name], group))
        for key in sorted(set(mine) | set(theirs)):
            shapes = [tree[key].shape if key in tree else None for tree in (mine, theirs)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"'{name}/{key}' has shape {shapes[0]} in this model but {shapes[1]} in {source}.")
    return params | replaced


def check_frozen(config: Config, params: Collection[str], loaded: set[str]) -> None:
    """Raises ValueError if groups that are never trained are not loaded either."""
    random = [name for name in config.optim.frozen if name in params and name not in loaded]
    if random and not config.optim.random_frozen:
        raise ValueError(
            f"{', '.join(random)} would stay random: optim.frozen names it, but init_from does not hold it. Name a "
            "checkpoint with --init-from, or train it with --optim.frozen and nothing behind it."
        )


def _copy_group(params: Params, source: str, target: str) -> Params:
    """Adds a copy of a group, with its running statistics, under another name."""
    copied = params | {target: params[source]}
    if source in params.get(STATISTICS, {}):
        copied[STATISTICS] = params[STATISTICS] | {target: params[STATISTICS][source]}
    return copied


def _load_shipped(config: Config) -> Params:
    """What `init_from` in SHIPPED stands for."""
    if config.init_from == "encoder":
        return load_shipped_encoder(config.model.encoder.name)
    shipped, params = load_for_inference(None)
    if shipped.model.encoder != config.model.encoder:
        raise ValueError(
            f"init_from 'model' is the shipped model, whose encoder is {shipped.model.encoder.name} with its own maps: "
            "start from configs/finetune.py, which has the same network."
        )
    return params


def _load_groups(source: Path) -> Params:
    """Parameter groups of any checkpoint from which training can start."""
    if is_converted(source) and BACKBONE in read_json(source / "config.json"):
        return load_network(source, BACKBONE)[1]
    return load_for_inference(source)[1]
