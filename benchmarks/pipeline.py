"""Images per second and core of the training pipeline: `python benchmarks/pipeline.py`.

Makes a small data set of noisy images in a temporary folder, or reads one that is there (--data-dir, --name), and
counts the processor time of the whole process while it draws batches: reading, decoding, augmenting, batching.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_pipelines.sources import make_source
from hmr_jax.config import Config, DataConfig, DatasetConfig

RECORDS = 256
CASES = (  # side of the crop, dense targets
    (256, ()),
    (128, ()),
    (256, ("mask",)),
    (256, ("mask", "depth")),
)


class _Photographs:
    """Stands in for the generator of people: smooth images with noise, whose JPEGs are as long as photos'."""

    def __init__(self, body, size: int, seed: int, margin: float):
        self.size, self.rng = size, np.random.default_rng(seed)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        count, size = len(indices), self.size
        rows, columns = np.mgrid[:size, :size]
        person = (rows - size / 2) ** 2 / 4 + (columns - size / 2) ** 2 < (size / 5) ** 2
        depth = person * (3 + 0.2 * np.sin(rows / 20) * np.cos(columns / 15))
        coarse = self.rng.integers(0, 255, (count, 8, 8, 3), np.uint8)
        smooth = np.stack([Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC) for c in coarse])
        noisy = np.clip(smooth + self.rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        points = size / 2 + size / 5 * self.rng.uniform(-1, 1, (count, 44, 2))
        intrinsics = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]], np.float32)
        return {
            "image": noisy,
            "mask": np.broadcast_to(person, (count, size, size)),
            "depth": np.broadcast_to(depth, (count, size, size)),
            "keypoints_2d": np.concatenate([points, np.ones((count, 44, 1))], 2).astype(np.float32),
            "keypoints_3d": np.concatenate([3 * points / size - 1.5, np.tile([3.0, 1.0], (count, 44, 1))], 2),
            "pose": self.rng.normal(0, 0.3, (count, 24, 3)),
            "betas": np.zeros((count, 10)),
            "translation": np.tile(np.array([0.0, 0, 3]), (count, 1)),
            "intrinsics": np.tile(intrinsics, (count, 1, 1)),
            "box_center": np.full((count, 2), size / 2),
            "box_size": np.full(count, size / 1.5),
        }

    def close(self) -> None:
        pass


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of data sets; default: make one")
    parser.add_argument("--name", default="synthetic_people", help="data set to read")
    parser.add_argument("--size", type=int, default=256, help="side of the stored images that are made")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0: one per core")
    parser.add_argument("--seconds", type=float, default=5, help="per row of the table")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = chosen.data_dir or _make(folder, chosen.size)
        print(f"{'crop':>5} {'dense targets':>14} {'images/s':>9} {'images/s/core':>14}")
        for side, dense in CASES:
            data = DataConfig(
                directory=data_dir,
                datasets=(DatasetConfig(chosen.name),),
                crop_size=side,
                dense=dense,
                workers=chosen.workers,
            )
            config = Config(batch_size=chosen.batch_size, data=data)
            wall, core = _rate(config, chosen.seconds)
            print(f"{side:>5} {'+'.join(dense) or '-':>14} {wall:>9.0f} {core:>14.0f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, of which TensorFlow 0.6")


def _make(folder: str, size: int) -> str:
    import data_pipelines.synthetic.people as generator
    from data_pipelines.build import build

    generator.SyntheticPeople = _Photographs  # type: ignore[assignment,misc]
    report = build("synthetic_people", folder, examples={"train": RECORDS}, size=size)
    if report["train"]["kept"] < RECORDS:
        raise ValueError(f"Records of this benchmark are refused: {report['train']}.")
    return folder


def _rate(config: Config, seconds: float) -> tuple[float, float]:
    """Images per second of wall time and of processor time."""
    batches = make_source(config, "train", process_index=0, process_count=1)(0)
    for _ in range(4):  # compilation and full queues
        next(batches)
    wall, core, images = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        images += len(next(batches)["image"])
    return images / (time.perf_counter() - wall), images / (time.process_time() - core)


if __name__ == "__main__":
    main()
