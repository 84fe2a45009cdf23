"""Exported folders: config.json and params.npz (float16), as the package ships them.

The parameters are all that the model has; an encoder that the package ships in a folder of its own is taken from there.
"""

from importlib import resources
from pathlib import Path

import flax
import numpy as np

from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.io import atomic
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.io.research_files import read_contents
from hmr_jax.models.parameters import Params

ASSETS = Path(str(resources.files("hmr_jax"))) / "assets"
SHIPPED_ENCODERS = ("blazepose_full", "blazepose_heavy")
"""Names of encoders, each of which has a folder in `ASSETS`."""
SHIPPED_MODEL = ASSETS / "deforhmr_heavy"


def is_exported(folder: Path) -> bool:
    """Whether the folder was written by `export`."""
    return (folder / "params.npz").exists()


def export(directory: Path, config: Config, params: Params) -> None:
    """Writes config.json and params.npz (float16); the folder counts as exported only when it is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    by_path = flax.traverse_util.flatten_dict(params, sep="/")
    arrays = {path: np.asarray(value, np.float16) for path, value in by_path.items()}
    write_json(directory / "config.json", to_dict(config))
    atomic.write_npz(directory / "params.npz", arrays)  # last: `is_exported` looks for it


def load_exported(directory: Path) -> tuple[Config, Params]:
    """Configuration and float32 parameters of an exported folder; raises ValueError if it cannot be read."""
    config = from_dict(read_json(directory / "config.json"))
    params = _read(directory)
    encoder = config.model.encoder.name
    if "encoder" not in params and encoder in SHIPPED_ENCODERS:
        params |= load_shipped_encoder(encoder)
    return config, params


def load_shipped_encoder(name: str) -> Params:
    """{"encoder": parameters} of an encoder that the package ships.

    Args:
        name: of `EncoderConfig.name`, one of `SHIPPED_ENCODERS`.

    Raises:
        ValueError: the package ships no such encoder.
    """
    if name not in SHIPPED_ENCODERS:
        raise ValueError(
            f"The package ships no encoder '{name}' but {' and '.join(SHIPPED_ENCODERS)}: set model.encoder.name to "
            "one of them, or init_from to the folder of a checkpoint."
        )
    return _read(ASSETS / name)


def load_shipped_detector() -> Params:
    """{"encoder": parameters} of the network that finds people, `BlazePoseDetector`."""
    return _read(ASSETS / "blazepose_detector")


def _read(directory: Path) -> Params:
    try:
        arrays = read_contents(directory / "params.npz")
        by_path = {path: array.astype(np.float32) for path, array in arrays.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{directory / 'params.npz'} cannot be read; was it damaged or cut off? ({error})") from error
    return flax.traverse_util.unflatten_dict(by_path, sep="/")
