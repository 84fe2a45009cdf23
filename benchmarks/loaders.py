"""Images per second and core from images of 1 to 4 megapixels: building, training reads, a plain OpenCV loader.

`python -m benchmarks.loaders`. Makes photo-like JPEGs with one person each, builds a data set of them (person crops
stored), reads it as training does, and reads the images themselves as most projects do: decode the whole image with
OpenCV, blur it where it shrinks, warp it to the crop, jitter, normalise to float32 CHW. All in one process, one after
another; what counts is processor time, so other jobs on the machine change little.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.pipeline import _rate
from data_pipelines.build import build
from hmr_jax.config import Config, DataConfig, DatasetConfig

SIZES = {"1 megapixel": (1280, 800), "2 megapixels": (1920, 1080), "4 megapixels": (2560, 1600)}
CROP = 256
WANTED = 5.0
"""Training reads in units of the plain loader's, blur included or not, over all sizes together."""
MEAN, STD = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255


def write_images(folder: Path, size: tuple[int, int], count: int, seed: int) -> list[tuple[Path, np.ndarray]]:
    """JPEGs with the detail and length of photos, a capture file beside them; paths and boxes (cx, cy, side)."""
    rng, (width, height) = np.random.default_rng(seed), size
    (folder / "images").mkdir(parents=True)
    people, made = [], []
    for number in range(count):
        coarse = rng.integers(0, 255, (height // 60, width // 60, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.normal(0, 7, (height, width, 1)), 0, 255).astype(np.uint8)
        path = folder / "images" / f"{number:04d}.jpg"
        Image.fromarray(noisy).save(path, quality=88)
        tall = height * rng.uniform(0.4, 0.8)
        center = np.array([width / 2, height / 2]) + rng.uniform(-0.1, 0.1, 2) * size
        points = center + rng.uniform(-0.5, 0.5, (8, 2)) * [0.5 * tall, tall]
        points[:2] = center + np.array([[0, -tall / 2], [0, tall / 2]])
        people.append({"image": f"images/{path.name}", "keypoints_2d": points.tolist()})
        made.append((path, np.array([*center, 1.2 * tall])))
    joints = ["head", "left_ankle", "right_ankle", "left_knee", "right_knee", "left_hip", "right_hip", "neck"]
    contents = {"format": "hmr-jax-capture-1", "joints": joints, "people": people}
    (folder / "train.json").write_text(json.dumps(contents))
    return made


def plain_loader(path: Path, box: np.ndarray, rng: np.random.Generator, blur: bool) -> np.ndarray:
    """(3, CROP, CROP) float32, with HMR2.0's augmentation, from the whole image."""
    import cv2

    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    side = box[2] * (1 + 0.3 * np.clip(rng.normal(), -1, 1))
    angle = 30 * np.clip(rng.normal(), -2, 2) if rng.random() < 0.6 else 0.0
    if blur and side / CROP / 2 > 1.1:
        image = cv2.GaussianBlur(image, (0, 0), (side / CROP / 2 - 1) / 2)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    affine = cv2.getRotationMatrix2D((float(box[0]), float(box[1])), angle, CROP / side)
    affine[:, 2] += CROP / 2 - box[:2]
    crop = cv2.warpAffine(image, affine, (CROP, CROP), flags=cv2.INTER_LINEAR).astype(np.float32)
    crop = np.clip(crop * rng.uniform(0.8, 1.2, 3), 0, 255)
    return np.ascontiguousarray(((crop - MEAN) / STD).transpose(2, 0, 1), np.float32)


def per_core(work: Callable[[int], object], seconds: float) -> float:
    """Calls per second of processor time."""
    work(0)
    wall, core, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        work(count)
        count += 1
    return count / (time.process_time() - core)


def measure(size: tuple[int, int], count: int, seconds: float, seed: int) -> tuple[float, float, float, float]:
    """Images per second and core of building, training reads, and the plain loader without and with blur."""
    import cv2

    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = write_images(Path(folder) / "manual", size, count, seed)
        build("mlb_pitch", f"{folder}/warm", f"{folder}/manual")
        core = time.process_time()
        build("mlb_pitch", f"{folder}/data", f"{folder}/manual")
        building = count / (time.process_time() - core)
        data = DataConfig(directory=f"{folder}/data", datasets=(DatasetConfig("mlb_pitch"),), crop_size=CROP)
        reading = _rate(Config(batch_size=64, data=data), seconds)[1]
        rng = np.random.default_rng(seed)

        def plain(blur: bool) -> float:
            return per_core(lambda number: plain_loader(*made[number % count], rng, blur), seconds)

        return building, reading, plain(False), plain(True)


def main() -> None:
    """The command line; fails where training reads are slower than wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=96, help="of each size")
    parser.add_argument("--seconds", type=float, default=4, help="per figure")
    chosen = parser.parse_args()
    rows = [measure(size, chosen.images, chosen.seconds, seed) for seed, size in enumerate(SIZES.values())]
    names = f"{'building':>9} {'training reads':>15} {'plain loader':>13} {'with blur':>10} {'ratio':>6}"
    lines = [f"{'images/s/core':>16} {names}"]
    together = 1 / np.mean(1 / np.array(rows), 0)  # as many images of each size
    for name, (building, reading, plain, blurred) in zip([*SIZES, "together"], [*rows, together], strict=True):
        lines.append(
            f"{name:>16} {building:>9.0f} {reading:>15.0f} {plain:>13.1f} {blurred:>10.1f} {reading / plain:>6.1f}"
        )
    print("\n" + "\n".join(lines))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if together[1] < WANTED * together[2]:
        sys.exit(f"Training reads are less than {WANTED:g} times as fast as the plain loader.")


if __name__ == "__main__":
    main()
