"""Writes a checkpoint as a small folder that installs with the package: config.json and params.npz (float16).

python -m tools.export_weights runs/deforhmr_heavy hmr_jax/assets/deforhmr_heavy --groups decoder head
"""

from pathlib import Path
from typing import Annotated

import jax
import numpy as np
from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.checkpoints import export, load_for_inference
from hmr_jax.config import Config


def main(
    checkpoint: Positional[Annotated[Path, arg(metavar="CHECKPOINT")]],
    output: Positional[Annotated[Path, arg(metavar="OUTPUT")]],
    groups: tuple[str, ...] = (),
    average_with: tuple[Path, ...] = (),
) -> None:
    """Exports a checkpoint.

    Args:
        checkpoint: a run's folder or one of its checkpoints.
        output: the new folder.
        groups: parameter groups to keep, e.g. "encoder"; by default all.
        average_with: other checkpoints of the same model; the mean of all weights is exported. Good where one run
            started from the other, as their weights then differ by noise that cancels.
    """
    config, params = _load(checkpoint, groups)
    others = [_load(path, groups)[1] for path in average_with]
    for path, other in zip(average_with, others, strict=True):
        if jax.tree.map(np.shape, other) != jax.tree.map(np.shape, params):
            raise ValueError(f"{path} and {checkpoint} hold different models: their weights have no mean.")
    export(output, config, jax.tree.map(lambda *weights: np.mean(weights, axis=0), params, *others))
    print(f"{output}: {(output / 'params.npz').stat().st_size / 1e6:.1f} MB")


def _load(checkpoint: Path, groups: tuple[str, ...]) -> tuple[Config, dict]:
    config, params = load_for_inference(checkpoint)
    for name in groups:
        if name not in params:
            raise ValueError(f"{checkpoint} has no group '{name}'; it has {', '.join(params)}.")
    return config, {name: params[name] for name in groups or params}


if __name__ == "__main__":
    cli.run(main, "python -m tools.export_weights")
