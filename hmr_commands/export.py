"""Writes a checkpoint's network in another format, and compares what it gives with the network."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from hmr_jax import runtime


def main(
    checkpoint: Positional[Annotated[str, arg(metavar="CHECKPOINT")]],
    to: Literal["stablehlo", "savedmodel", "onnx"],
    output: Path | None = None,
    body: Path | None = None,
) -> None:
    """Writes a network that takes crops of any batch size, and prints by how much it differs from the checkpoint's.

    Args:
        checkpoint: a run's folder, one of its checkpoints, an exported folder, or "model" for the built-in one.
        to: stablehlo: one file, which predict.py takes as --checkpoint; savedmodel: a folder for TensorFlow; onnx: one
            file for onnxruntime. docs/howto/export.md describes them.
        output: the file or folder that is written; an earlier export of the same format is replaced. By default it is
            named after the checkpoint, in the working directory.
        body: file or folder of the checkpoint's body, if it is not where it was in training; by default
            HMR_JAX_BODIES is searched.
    """
    from hmr_commands.saved_model import FORMATS
    from hmr_jax.export import export_network, load_network
    from hmr_jax.export.parity import BATCHES, table

    runtime.set_up(inference=True)
    network = load_network(checkpoint, body)
    written = export_network(network, to, output, FORMATS)
    print(written.path)
    sizes = ", ".join(map(str, BATCHES[:-1]))
    print(f"Largest difference from the checkpoint at batches of {sizes} and {BATCHES[-1]}, over the largest value:")
    print(table(written.parity))
