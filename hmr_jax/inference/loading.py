"""What a predictor is made of: a checkpoint's folder, or a network that was exported to a file."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from hmr_jax.body import named_body
from hmr_jax.checkpoints import describe, load_for_inference
from hmr_jax.config import Config
from hmr_jax.export import ExportedNetwork, read_network
from hmr_jax.models.parameters import Params


class Loaded(NamedTuple):
    """A network with its parameters."""

    config: Config
    params: Params
    network: ExportedNetwork | None
    """What was exported; None: the network is to be built from the configuration."""
    checkpoint: dict[str, Any]
    """Name and step."""


def load(source: str | Path | None, body: str | Path | None) -> Loaded:
    """Loads a checkpoint or an exported network.

    Args:
        source: a folder, see `checkpoints.load_for_inference`; or a file that `hmr export CHECKPOINT --to stablehlo`
            wrote; None: the shipped model.
        body: file or folder of a checkpoint's body, if it is not where it was in training.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it cannot be read, or is an exported network, which holds its body, and a body is given.
    """
    if source is not None and Path(source).is_file():
        if body is not None:
            raise ValueError(f"{source} holds the body that its network predicts: leave the body out.")
        network = read_network(source)
        return Loaded(network.config, network.params, network, network.checkpoint)
    config, params = load_for_inference(source)
    config = dataclasses.replace(config, model=named_body(config.model, body))
    return Loaded(config, params, None, describe(source))
