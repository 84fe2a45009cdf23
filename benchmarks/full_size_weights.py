"""ViT-H at full size through the converter: `python -m benchmarks.full_size_weights`, about 8 GB of disk.

Random weights of transformers' VitPoseBackbone are saved with torch.save in ViTPose's own names, converted by the
command in a process of its own, and compared: features of both implementations, time and peak memory of the conversion,
and the time to load the result beside that of torch.load.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DIM, HEADS, DEPTH, SIZE = 1280, 16, 32, (256, 192)
DIFFERENCE, RATIO = 1e-4, 1.0
ROUNDS = 5


def main() -> None:
    """Prints the figures; fails where one is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where the temporary files go")
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks; fewer for a quick look")
    parser.add_argument("--step", choices=("make", "compare", "load-ours", "load-torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        return STEPS[options.step](Path(options.folder), options.depth)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        failed = run(Path(folder), options.depth)
    if failed:
        sys.exit(f"Not met: {', '.join(failed)}.")


def run(folder: Path, depth: int) -> list[str]:
    """Every step in its own process, so that its memory is its own; returns what is not met."""
    source, out = folder / "vitpose_huge.pth", folder / "converted"
    step(folder, depth, "make")
    size = source.stat().st_size
    start = time.perf_counter()
    peak = run_measured([sys.executable, "-m", "hmr_jax.weights.convert", str(source), "--to", str(out)])
    seconds = time.perf_counter() - start
    allowed = 1.3 * size + 2**30
    print(f"file {size / 1e9:.2f} GB; conversion {seconds:.1f} s, peak memory {peak / 1e9:.2f} GB "
          f"(at most {allowed / 1e9:.2f} GB)", flush=True)  # fmt: skip
    difference = float(step(folder, depth, "compare"))
    print(f"largest difference of the features / largest feature {difference:.1e} (at most {DIFFERENCE:.0e})")
    times = [[float(step(folder, depth, which)) for which in ("load-ours", "load-torch")] for _ in range(ROUNDS)]
    ours, other = (sorted(column)[ROUNDS // 2] for column in zip(*times, strict=True))
    ratio = sorted(a / b for a, b in times)[ROUNDS // 2]
    print(f"load_for_inference {ours:.2f} s, torch.load {other:.2f} s, ratio {ratio:.2f} (at most {RATIO})")
    checks = {"memory": peak <= allowed, "difference": difference <= DIFFERENCE, "loading": ratio <= RATIO}
    return [name for name, met in checks.items() if not met]


def step(folder: Path, depth: int, name: str) -> str:
    """Runs one step of this file; returns its last line."""
    command = [sys.executable, "-m", "benchmarks.full_size_weights", "--step", name]
    command += ["--folder", str(folder), "--depth", str(depth)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def run_measured(command: list[str]) -> int:
    """Runs a command; returns its peak resident memory in bytes, mapped pages of files included."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} failed.")
    return usage.ru_maxrss * 1024


# ---------------------------------------------------------------------------------------------------------- the steps


def network(depth: int):
    import torch
    from transformers import VitPoseBackbone, VitPoseBackboneConfig

    torch.manual_seed(0)
    config = VitPoseBackboneConfig(
        hidden_size=DIM, num_hidden_layers=depth, num_attention_heads=HEADS, image_size=list(SIZE), mlp_ratio=4,
        layer_norm_eps=1e-6,
    )  # fmt: skip
    model = VitPoseBackbone(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim == 1 or "position" in name:  # transformers starts these at 0 and 1
                tensor.add_(0.02 * torch.randn(tensor.shape))
    return model


def make(folder: Path, depth: int) -> None:
    """Writes vitpose_huge.pth as ViTPose's authors name its tensors."""
    import torch

    state, renamed = network(depth).state_dict(), {}
    for name, tensor in state.items():
        for new, old in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("encoder.layer.", "blocks."),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("attention.output.dense", "attn.proj"),
            ("layernorm", "last_norm"),
        ):
            name = name.replace(new, old)
        if ".attention.attention.query." in name:
            at = name.replace("attention.attention.query", "attn.qkv")
            original = f"encoder.layer.{name.split('.')[1]}.attention.attention"
            kind = name.rsplit(".", 1)[1]
            tensor = torch.cat([state[f"{original}.{part}.{kind}"] for part in ("query", "key", "value")])
            renamed[f"backbone.{at}"] = tensor
        elif ".attention.attention." not in name:
            renamed[f"backbone.{name}"] = tensor
    torch.save({"meta": {"epoch": 210}, "state_dict": renamed}, folder / "vitpose_huge.pth")


def compare(folder: Path, depth: int) -> None:
    """Prints the largest difference of the features of a random image, relative to the largest feature."""
    import numpy as np
    import torch

    image = np.random.default_rng(0).standard_normal((1, *SIZE, 3), np.float32)
    with torch.inference_mode():
        maps = network(depth)(torch.tensor(np.ascontiguousarray(np.moveaxis(image, -1, 1)))).feature_maps[0]
    wanted = maps.numpy().reshape(1, SIZE[0] // 16, SIZE[1] // 16, DIM)

    import jax
    import jax.numpy as jnp

    from hmr_jax.checkpoints import load_for_inference
    from hmr_jax.models.encoders import build_encoder

    config, params = load_for_inference(folder / "converted")
    encoder = build_encoder(config.model.encoder, "xla", jnp.float32)
    features = jax.jit(encoder.apply)({"params": params["encoder"]}, image)
    print(np.abs(features - wanted).max() / np.abs(wanted).max())


def load_ours(folder: Path, depth: int) -> None:
    """Prints the seconds until all parameters are in memory."""
    import jax
    import numpy as np

    from hmr_jax.checkpoints import load_for_inference

    start = time.perf_counter()
    _, params = load_for_inference(folder / "converted")
    seconds = time.perf_counter() - start
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))
    print(seconds)


def load_torch(folder: Path, depth: int) -> None:
    """The same for torch.load."""
    import torch

    start = time.perf_counter()
    torch.load(folder / "vitpose_huge.pth")
    print(time.perf_counter() - start)


STEPS = {"make": make, "compare": compare, "load-ours": load_ours, "load-torch": load_torch}


if __name__ == "__main__":
    main()
