"""Loading a converted ViT-H beside torch.load: `python -m benchmarks.weights`, `--quick` for 8 blocks.

Needs 5 GB of disk in the temporary folder for a while. The files are in the system's cache for both.
"""

import argparse
import tempfile
from pathlib import Path

import flax
import jax
import numpy as np
import torch

from benchmarks.timing import Comparison, compare, show
from hmr_jax.checkpoints import load_for_inference
from hmr_jax.checkpoints.converted import save_converted
from hmr_jax.config import Config, EncoderConfig, ModelConfig, to_dict
from hmr_jax.models.backbones.vit import ViT

REQUIRED = 1.0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 of the 32 blocks")
    with tempfile.TemporaryDirectory() as folder:
        line = measure(Path(folder), 8 if parser.parse_args().quick else 32)
    show("Loading the parameters of ViT-H", "torch.load", [line])


def measure(folder: Path, depth: int) -> Comparison:
    """Compares loading; the numbers are random in both files and the same."""
    encoder = EncoderConfig(depth=depth)
    vit = ViT(encoder.dim, depth, encoder.num_heads)
    shapes = jax.eval_shape(vit.init, jax.random.key(0), np.zeros((1, *encoder.image_size, 3), np.float32))["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
    config = Config(model=ModelConfig("dense", encoder))
    save_converted(folder / "ours", to_dict(config), {"encoder": params}, {})
    flat = flax.traverse_util.flatten_dict(params, sep=".")
    torch.save({name: torch.from_numpy(array) for name, array in flat.items()}, folder / "torch.pth")
    size = sum(array.nbytes for array in flat.values())
    del params, flat

    def ours():
        return load_for_inference(folder / "ours")[1]

    def other():
        return torch.load(folder / "torch.pth")["norm.scale"]

    np.testing.assert_array_equal(ours()["encoder"]["norm"]["scale"], other().numpy())
    return compare(f"{size / 1e9:.1f} GB, {depth} blocks", ours, other, REQUIRED, rounds=5)


if __name__ == "__main__":
    main()
