"""Folders of published weights in our terms, as `python -m hmr_jax.weights.convert` writes them.

config.json      an experiment, or a network that is none, under its kind
params/          all parameters: an item of Orbax
source.json      where they are from
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from hmr_jax.config import Config, from_dict
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.io import atomic
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.io.orbax_arrays import read_item, read_plain_arrays
from hmr_jax.models.parameters import Params

DEPTH_ANYTHING = "depth_anything"
BACKBONE = "backbone"


def save_converted(directory: Path, config: dict, params: Params, source: dict) -> None:
    """Writes a converted checkpoint, whole or not at all.

    Args:
        directory: must not exist.
        config: config.json.
        params: all parameters, as they are.
        source: source.json: where the parameters are from.
    """
    check_new(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing_folder(directory) as part:
        write_json(part / "config.json", config)
        write_json(part / "source.json", source)
        # As they are in memory, which `read_plain_arrays` reads fastest; random-looking numbers do not compress.
        # By default Orbax writes in the background, from a copy of everything; before 0.12 it can do no other.
        kind: Any = ocp.type_handlers.NumpyHandler
        direct = {"deepcopy_host_arrays": False}
        numpy = kind(**direct) if set(direct) <= set(inspect.signature(kind).parameters) else kind()
        handler = ocp.PyTreeCheckpointHandler(
            use_ocdbt=False,
            use_compression=False,
            type_handler_registry=ocp.type_handlers.create_type_handler_registry((np.ndarray, numpy)),
        )
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save((part / "params").resolve(), params)


def check_new(directory: Path) -> None:
    """Raises FileExistsError if there is something already."""
    if directory.exists():
        raise FileExistsError(f"{directory} exists already: choose another folder, or remove it.")


def load_depth_anything(directory: str | Path) -> tuple[DepthAnythingConfig, Params]:
    """Configuration and parameters of a converted Depth Anything checkpoint; raises as `load_network` does."""
    values, params = load_network(directory, DEPTH_ANYTHING)
    return from_dict(values, DepthAnythingConfig), params


def load_network(directory: str | Path, kind: str) -> tuple[dict, Params]:
    """What a converted checkpoint says of its network, and its parameters as NumPy arrays.

    Args:
        directory: a folder that `python -m hmr_jax.weights.convert` wrote.
        kind: `DEPTH_ANYTHING`, or `BACKBONE`: {"name": "resnet50" or the like} and {"encoder": parameters,
            "batch_stats": {"encoder": running statistics}}.

    Raises:
        FileNotFoundError: if there is none in the folder.
        ValueError: if it is of another network, or cannot be read.
    """
    folder = Path(directory).resolve()
    if not is_converted(folder):
        raise FileNotFoundError(
            f"There is no converted checkpoint in {folder}: make one with python -m hmr_jax.weights.convert."
        )
    values = read_json(folder / "config.json")
    if kind not in values:
        raise ValueError(f"{folder} holds another network, not a {kind.replace('_', ' ')} checkpoint.")
    return values[kind], _read_params(folder)


def is_converted(folder: Path) -> bool:
    return (folder / "params").is_dir() and (folder / "config.json").exists()


def load_converted(folder: Path) -> tuple[Config, Params]:
    values = read_json(folder / "config.json")
    for kind, use in ((DEPTH_ANYTHING, "a depth provider"), (BACKBONE, "the image backbone of D2A-HMR")):
        if kind in values:
            raise ValueError(f"{folder} predicts no bodies: it is {use}.")
    return from_dict(values), _read_params(folder)


def _read_params(folder: Path) -> Params:
    try:
        plain = read_plain_arrays(folder / "params")
        return read_item(folder / "params") if plain is None else plain
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint {folder} cannot be read; was it damaged or cut off? ({error})") from error
