"""Writes vitpose_hugging_face.npz with transformers: `python tests/data/make_vitpose.py`.

Small ViTPose networks, plain and with experts, whose weights are made by rule (tests/by_rule.py), and their features.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from by_rule import made_by_rule  # noqa: E402


def main() -> None:
    results: dict[str, np.ndarray] = {}
    image = np.random.default_rng(0).standard_normal((1, 64, 48, 3)).astype(np.float32)
    for experts in (1, 3):
        encoder = VitPoseBackboneConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=[64, 48], num_experts=experts,
            part_features=6, layer_norm_eps=1e-6,
        )  # fmt: skip
        config = VitPoseConfig(backbone_config=encoder, num_labels=3)
        with tempfile.TemporaryDirectory() as folder:
            VitPoseForPoseEstimation(config).save_pretrained(folder)
            file = Path(folder) / "model.safetensors"
            shapes = {name: array.shape for name, array in sorted(load_file(file).items())}
            save_file(made_by_rule(shapes, shapes.values()), file, {"format": "pt"})
            network = VitPoseForPoseEstimation.from_pretrained(folder).eval()
        results[f"names_{experts}"] = np.array(list(shapes))
        results[f"shapes_{experts}"] = np.array([str(list(shape)) for shape in shapes.values()])
        for expert in range(experts):
            with torch.inference_mode():
                output = network.backbone(
                    torch.tensor(np.moveaxis(image, -1, 1).copy()),
                    dataset_index=torch.tensor([expert]) if experts > 1 else None,
                )
            features = output.feature_maps[0].numpy()
            results[f"features_{experts}_{expert}"] = features.reshape(1, 4, 3, 24)
    np.savez_compressed(HERE / "vitpose_hugging_face.npz", **results)


if __name__ == "__main__":
    main()
