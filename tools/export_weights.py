"""Writes a checkpoint as a small folder that installs with the package: config.json and params.npz (float16).

python -m tools.export_weights runs/pretrain_encoder hmr_jax/assets/encoder_tiny --groups encoder
"""

from pathlib import Path

import tyro

from hmr_jax import cli
from hmr_jax.checkpoint import export, load_for_inference


def main(
    checkpoint: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path], groups: tuple[str, ...] = ()
) -> None:
    """Exports a checkpoint.

    Args:
        checkpoint: a run's folder or one of its checkpoints.
        output: the new folder.
        groups: parameter groups to keep, e.g. "encoder"; by default all.
    """
    config, params = load_for_inference(checkpoint)
    for name in groups:
        if name not in params:
            raise ValueError(f"{checkpoint} has no group '{name}'; it has {', '.join(params)}.")
    export(output, config, {name: params[name] for name in groups or params})
    print(f"{output}: {(output / 'params.npz').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    with cli.one_line_errors():
        tyro.cli(main)
