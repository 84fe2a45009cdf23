"""Evaluates checkpoints and external predictions under named protocols."""

from pathlib import Path
from typing import Literal

from hmr_jax import runtime


def main(
    checkpoint: tuple[Path, ...] = (),
    protocol: tuple[str, ...] = (),
    data: str = "",
    split: Literal["", "train", "validation", "test", "all"] = "",
    examples: int = 0,
    batch_size: int = 32,
    bodies: Path | None = None,
    flip_test: bool = False,
    predictions: tuple[Path, ...] = (),
    compare: tuple[Path, ...] = (),
    report: Path | None = None,
    output: Path | None = None,
) -> None:
    """Scores checkpoints or external predictions; `hmr protocols` lists the protocols.

    Args:
        checkpoint: folders of runs, single checkpoints, or exported folders, or "model" for the shipped one; each is
            scored under each protocol.
        protocol: names, each with "@DATASET" after it where the data set was built under another name; needed for all
            but synthetic people.
        data: folder of the TFDS data sets; "synthetic" for people made on the fly; or a truth file (.npz). By default
            the checkpoint's.
        split: by default the protocol's.
        examples: how many samples; 0: all of the split (synthetic: 1000).
        batch_size: samples at a time, over all devices and hosts.
        bodies: folder with SMPL_MALE, SMPL_FEMALE and regressors, as `hmr prepare` makes it; by default
            HMR_JAX_BODIES.
        flip_test: average with the prediction for the mirrored crop.
        predictions: files (.npz) with another system's predictions, scored instead of a checkpoint.
        compare: two result files: their paired differences.
        report: folder for a page and a LaTeX table of all results.
        output: where the result goes as JSON, a folder where there are several; by default in each checkpoint's
            folder, beside a file of predictions, and in the working directory for the shipped model.
    """
    from hmr_jax.evaluation import commands

    runtime.set_up(inference=True)
    if compare:
        commands.compare(compare)
        return
    several = len(checkpoint + predictions) * max(len(protocol), 1) > 1
    settings = commands.Settings(data, split, examples, batch_size, bodies, flip_test, output, several)
    commands.run(checkpoint, predictions, protocol, settings, _open_source, report)


def _open_source(config, split, examples, topology):
    from data_pipelines.sources import make_source

    return make_source(config, split, examples=examples, topology=topology)
