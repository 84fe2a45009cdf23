"""Depth Anything Small at 518 px beside transformers: `python -m benchmarks.depth`."""

import jax
import numpy as np
import torch
from transformers import DepthAnythingConfig as TheirConfig
from transformers import DepthAnythingForDepthEstimation, Dinov2Config

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.models.depth_anything import DepthAnything
from hmr_jax.weights import convert_depth_anything

SIZE, REQUIRED = (518, 518), 1.2


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu(inference=True)  # as predict.py does
    show(f"Depth Anything Small, {SIZE[0]}x{SIZE[1]}, float32", "transformers", [measure()])


def measure() -> Comparison:
    """Compares forward passes of the same random weights, and their results."""
    config = DepthAnythingConfig(position_offset=0.0)
    encoder = Dinov2Config(
        hidden_size=config.dim, num_hidden_layers=config.depth, num_attention_heads=config.num_heads, image_size=518,
        patch_size=14, out_indices=[tap + 1 for tap in config.taps], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    theirs = TheirConfig(
        backbone_config=encoder, reassemble_hidden_size=config.dim, neck_hidden_sizes=list(config.neck_dims),
        fusion_hidden_size=config.fusion_dim, head_hidden_size=config.head_dim,
    )  # fmt: skip
    network = DepthAnythingForDepthEstimation(theirs).eval()
    image = np.random.default_rng(0).standard_normal((1, *SIZE, 3), np.float32)
    channels_first = torch.tensor(np.ascontiguousarray(np.moveaxis(image, -1, 1)))

    @torch.inference_mode()
    def other() -> torch.Tensor:
        return network(channels_first).predicted_depth

    state = {_file_name(name): value.numpy() for name, value in network.state_dict().items()}
    params = jax.device_put(convert_depth_anything(state))
    step = jax.jit(lambda params, image: DepthAnything(config).apply({"params": params}, image))
    depth, reference = step(params, image), other().numpy()
    np.testing.assert_allclose(depth, reference, atol=1e-4 * max(np.abs(reference).max(), 1e-3))
    return compare("batch 1", lambda: step(params, image), other, REQUIRED, rounds=9)


def _file_name(name: str) -> str:
    """What transformers calls a tensor in files, where version 5 calls it otherwise in memory."""
    renamed = {
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "o_proj": "output.dense",
    }
    for new, old in renamed.items():
        name = name.replace(f"attention.{new}", f"attention.{old}")
    return name


if __name__ == "__main__":
    main()
