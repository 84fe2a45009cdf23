"""ViT-H's forward pass beside transformers' VitPoseBackbone: `python -m benchmarks.encoder`, `--quick` for 8 blocks."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import torch
from transformers import VitPoseBackbone, VitPoseBackboneConfig

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.models.backbones.vit import ViT, arrange_for_inference

BATCH, DIM, HEADS, SIZE, REQUIRED = 4, 1280, 16, (256, 192), 1.25


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu(inference=True)  # as predict.py does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 of the 32 blocks")
    depth = 8 if parser.parse_args().quick else 32
    show(f"ViT-H forward, {SIZE[0]}x{SIZE[1]}, float32", "VitPoseBackbone", measure(depth))


def measure(depth: int) -> list[Comparison]:
    """Compares forward passes with random weights."""
    config = VitPoseBackboneConfig(
        hidden_size=DIM, num_hidden_layers=depth, num_attention_heads=HEADS, image_size=list(SIZE), mlp_ratio=4
    )
    network = VitPoseBackbone(config).eval()
    images = np.random.default_rng(0).standard_normal((BATCH, *SIZE, 3), np.float32)
    channels_first = torch.tensor(np.ascontiguousarray(np.moveaxis(images, -1, 1)))

    @torch.inference_mode()
    def other() -> torch.Tensor:
        return network(channels_first).feature_maps[0]

    model = ViT(DIM, depth, HEADS, SIZE)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *SIZE, 3)))
    params = jax.device_put(arrange_for_inference(jax.device_get(params)))  # as eval.py and predict.py do
    inputs = jnp.asarray(images)

    step = jax.jit(lambda params, images: model.apply(params, images))
    np.testing.assert_equal(step(params, inputs).size, other().numel())
    case = f"batch {BATCH}, {depth} blocks"
    return [compare(case, lambda: step(params, inputs), other, REQUIRED, rounds=7)]


if __name__ == "__main__":
    main()
