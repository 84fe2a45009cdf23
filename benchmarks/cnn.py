"""HRNet-W64's forward pass beside timm's: `python -m benchmarks.cnn`, `--quick` for W40."""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import timm
import torch

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.models.backbones.hrnet import HRNet
from hmr_jax.weights import convert_hrnet

BATCH, SIZE, REQUIRED = 8, 224, 1.2


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu(inference=True)  # as predict.py does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="HRNet-W40, and fewer rounds")
    quick = parser.parse_args().quick
    line = measure(40, 3) if quick else measure(64, 5)
    show(f"HRNet forward, {SIZE}x{SIZE}, float32", "timm", [line])


def measure(width: int, rounds: int) -> Comparison:
    """Compares forward passes with the same random weights, up to the map before pooling."""
    network: Any = timm.create_model(f"hrnet_w{width}", pretrained=False).eval()
    images = np.random.default_rng(0).standard_normal((BATCH, SIZE, SIZE, 3), np.float32)
    channels_first = torch.tensor(np.ascontiguousarray(np.moveaxis(images, -1, 1)))

    @torch.inference_mode()
    def other() -> torch.Tensor:
        return network.forward_features(channels_first)

    state = {name: value.numpy() for name, value in network.state_dict().items()}
    variables = jax.tree.map(jnp.asarray, convert_hrnet(state))
    step, inputs = jax.jit(HRNet(width).apply), jnp.asarray(images)
    ours, theirs = step(variables, inputs), np.moveaxis(other().numpy(), 1, -1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    return compare(f"HRNet-W{width}, batch {BATCH}", lambda: step(variables, inputs), other, REQUIRED, rounds=rounds)


if __name__ == "__main__":
    main()
