"""Folders of converted published weights, as `python -m hmr_jax.weights.convert` writes them.

config.json      an experiment; or, under its kind, a network that is no experiment
params/          all parameters: an item of Orbax, with a checksum for each of its files
source.json      their origin
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from hmr_jax.config import Config, from_dict
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.io import atomic
from hmr_jax.io.checksums import write_checksums
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.io.orbax_arrays import read_item
from hmr_jax.models.parameters import Params

DEPTH_ANYTHING = "depth_anything"
BACKBONE = "backbone"


def save_converted(directory: Path, config: dict, params: Params, source: dict) -> None:
    """Writes a converted checkpoint; the folder appears only when it is complete.

    Args:
        directory: must not exist.
        config: content of config.json.
        params: all parameters; types are kept.
        source: content of source.json, the origin of the parameters.

    Raises:
        FileExistsError: if the folder exists.
    """
    check_new(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing_folder(directory) as part:
        write_json(part / "config.json", config)
        write_json(part / "source.json", source)
        # Not compressed: `read_item` reads that fastest, and parameters hardly compress.
        # By default Orbax copies everything and writes in the background; from 0.12 on that can be turned off.
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
        write_checksums(part / "params")


def check_new(directory: Path) -> None:
    """Raises FileExistsError if the folder exists."""
    if directory.exists():
        raise FileExistsError(f"{directory} exists already: choose another folder, or remove it.")


def load_depth_anything(directory: str | Path) -> tuple[DepthAnythingConfig, Params]:
    """Configuration and parameters of a converted Depth Anything checkpoint; raises as `load_network` does."""
    values, params = load_network(directory, DEPTH_ANYTHING)
    return from_dict(values, DepthAnythingConfig), params


def load_network(directory: str | Path, kind: str) -> tuple[dict, Params]:
    """Description of the network in a converted checkpoint, and its parameters as NumPy arrays.

    Args:
        directory: a folder that `python -m hmr_jax.weights.convert` wrote.
        kind: `DEPTH_ANYTHING`; or `BACKBONE`, which gives {"name": "resnet50", for example} and {"encoder": parameters,
            "batch_stats": {"encoder": running statistics}}.

    Raises:
        FileNotFoundError: if there is no checkpoint in the folder.
        ValueError: if it holds another kind of network, or cannot be read.
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
    """Whether the folder holds a converted checkpoint."""
    return (folder / "params").is_dir() and (folder / "config.json").exists()


def load_converted(folder: Path) -> tuple[Config, Params]:
    """Configuration and parameters of a converted experiment; raises ValueError for another kind of network."""
    values = read_json(folder / "config.json")
    for kind, use in ((DEPTH_ANYTHING, "a depth provider"), (BACKBONE, "the image backbone of D2A-HMR")):
        if kind in values:
            raise ValueError(f"{folder} predicts no bodies: it is {use}.")
    return from_dict(values), _read_params(folder)


def _read_params(folder: Path) -> Params:
    try:
        return read_item(folder / "params")
    except Exception as error:  # Orbax raises many types for damaged files
        raise ValueError(f"The checkpoint {folder} cannot be read; was it damaged or cut off? ({error})") from error
