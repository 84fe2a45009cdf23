"""Writes depth_anything.npz with transformers: `python tests/data/make_depth_anything.py`.

A small Depth Anything whose weights are made by rule (tests/by_rule.py), its depth for two images, and what PyTorch's
resizings give that the network and its preprocessing use.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch.nn.functional import interpolate
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from by_rule import made_by_rule  # noqa: E402

SIZES = ((70, 70), (70, 84))


def main() -> None:
    encoder = Dinov2Config(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=encoder, reassemble_hidden_size=24, neck_hidden_sizes=[8, 12, 16, 20], fusion_hidden_size=8,
        head_hidden_size=6,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        DepthAnythingForDepthEstimation(config).save_pretrained(folder)
        file = Path(folder) / "model.safetensors"
        shapes = {name: array.shape for name, array in sorted(load_file(file).items())}
        state = made_by_rule(shapes, shapes.values())
        state["head.conv3.bias"][:] = 1  # so that the last ReLU cuts little
        save_file(state, file, {"format": "pt"})
        network = DepthAnythingForDepthEstimation.from_pretrained(folder).eval()

    results: dict[str, np.ndarray] = {
        "names": np.array(list(shapes)),
        "shapes": np.array([str(list(s)) for s in shapes.values()]),
    }
    for height, width in SIZES:
        image = np.random.default_rng(width).standard_normal((1, height, width, 3)).astype(np.float32)
        with torch.inference_mode():
            depth = network(torch.tensor(np.moveaxis(image, -1, 1).copy())).predicted_depth.numpy()
        assert (depth > 0).mean() > 0.9
        assert depth.std() > 0.01
        results[f"depth_{width}"] = depth

    # The original code resizes position embeddings by a scale factor of (size + 0.1) / grid.
    slots = torch.tensor(np.random.default_rng(1).standard_normal((1, 3, 5, 5)).astype(np.float32))
    for name, size in (("larger", (7, 10)), ("smaller", (4, 3))):
        scale = [(n + 0.1) / 5 for n in size]
        results[f"positions_original_{name}"] = interpolate(slots, scale_factor=scale, mode="bicubic")[0].numpy()
        results[f"positions_{name}"] = interpolate(slots, size=size, mode="bicubic")[0].numpy()
    image = torch.tensor(np.random.default_rng(2).integers(0, 256, (1, 3, 25, 37)).astype(np.float32)) / 255
    results["resized"] = interpolate(image, size=(28, 42), mode="bicubic")[0].numpy().transpose(1, 2, 0)
    results["enlarged"] = interpolate(image[:, :1], size=(31, 40), mode="bilinear", align_corners=True)[0, 0].numpy()
    np.savez_compressed(HERE / "depth_anything.npz", **results)


if __name__ == "__main__":
    main()
