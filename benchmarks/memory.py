"""Memory of building many records and of training from eight data sets: `python -m benchmarks.memory`.

Each in a process of its own, whose peak is printed. Records are as many as a real data set has; images of the build
are small, which changes its time but not what it keeps in memory, and those of training have the usual 512 px.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LIMITS = {"build": 3.0, "train": 2.0}
"""GiB."""
DATASETS, FILE_PEOPLE, IMAGES = 8, 1000, 200
JOINTS = ["head", "left_ankle", "right_ankle", "left_knee", "right_knee", "left_hip", "right_hip", "neck"]


def write_capture(folder: Path, people: int, side: int) -> None:
    """JSON files of a thousand people each, over a few hundred images."""
    rng = np.random.default_rng(0)
    (folder / "train" / "images").mkdir(parents=True)
    for number in range(min(people, IMAGES)):
        coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.normal(0, 7, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "train" / "images" / f"{number}.jpg", quality=88)
    for start in range(0, people, FILE_PEOPLE):
        rows = [
            {
                "image": f"images/{number % IMAGES}.jpg",
                "id": str(number),
                "keypoints_2d": (side * rng.uniform(0.25, 0.75, (8, 2))).round(2).tolist(),
            }
            for number in range(start, min(start + FILE_PEOPLE, people))
        ]
        contents = {"format": "hmr-jax-capture-1", "joints": JOINTS, "people": rows}
        (folder / "train" / f"{start:07d}.json").write_text(json.dumps(contents))


def build_many(folder: Path, people: int) -> str:
    from data_pipelines.build import build

    write_capture(folder / "manual", people, 96)
    begin = time.time()
    kept = build("mlb_pitch", folder / "data", folder / "manual")["train"]["kept"]
    return f"{kept} records built in {time.time() - begin:.0f} s"


def train_mixed(folder: Path, batches: int) -> str:
    from data_pipelines.build import build
    from data_pipelines.sources import make_source
    from hmr_jax.config import Config, DataConfig, DatasetConfig

    write_capture(folder / "manual", 64, 900)
    build("mlb_pitch", folder / "data", folder / "manual")
    names = [f"copy{number}" for number in range(DATASETS)]
    for name in names:
        shutil.copytree(folder / "data" / "mlb_pitch", folder / "data" / name)
    data = DataConfig(directory=str(folder / "data"), datasets=tuple(DatasetConfig(name, 1.0) for name in names))
    stream = make_source(Config(batch_size=256, data=data), "train", process_index=0, process_count=1)(0)
    for _ in range(batches):
        next(stream)
    return f"{batches} batches of 256 from {DATASETS} data sets"


def main() -> None:
    """The command line; fails where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=list(LIMITS), help="only this, in this process")
    parser.add_argument("--records", type=int, default=100_000, help="to build")
    parser.add_argument("--batches", type=int, default=40, help="to read")
    chosen = parser.parse_args()
    if chosen.part is None:
        arguments = [f"--records={chosen.records}", f"--batches={chosen.batches}"]
        codes = [
            subprocess.run([sys.executable, "-m", "benchmarks.memory", part, *arguments], check=False).returncode
            for part in LIMITS
        ]
        sys.exit(max(codes))
    with tempfile.TemporaryDirectory() as folder:
        made = (
            build_many(Path(folder), chosen.records)
            if chosen.part == "build"
            else train_mixed(Path(folder), chosen.batches)
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{chosen.part}: {made}; peak {peak:.2f} GiB, at most {LIMITS[chosen.part]:g}")
    if peak > LIMITS[chosen.part]:
        sys.exit(f"{chosen.part} needs more memory than it may.")


if __name__ == "__main__":
    main()
