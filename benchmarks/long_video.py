"""Memory and time of a long video, by its length: `python -m benchmarks.long_video --minutes 5 20 120`.

A small clip of a walking figure stands for the video, and a predictor that finds it by its colour for the network, so
that hours of video take minutes; the passes, the files and the smoothing are the real ones. Prints the memory of the
process (resident set) at the end of each pass, at its fourths, and its peak.
"""

import argparse
import resource
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax import runtime
from hmr_jax.body import load_body_model
from hmr_jax.config import Config
from hmr_jax.detection import Detections
from hmr_jax.inference import PersonPrediction
from hmr_jax.video import predict_video
from hmr_jax.video.mp4 import writing_mp4

WIDTH, HEIGHT, RATE = 64, 48, 25


class Figure:
    """A predictor that finds a red figure and gives it the pose of a clock."""

    def __init__(self) -> None:
        self.body, self.config = load_body_model(), Config()
        self.checkpoint = {"name": "figure", "step": 0}
        self.detector, self.parameters_hash, self.upright, self.crop_focal_length = None, "figure", True, None
        self.settings, self.refine = {"network": "figure"}, False
        self._rng = np.random.default_rng(0)
        self._joints, self._points = self._rng.normal(0, 0.3, (24, 3)), self._rng.normal(0, 0.3, (44, 3))

    def detect(self, images: Any, known: Detections | None = None) -> list[Detections]:
        """The figure in each image."""
        columns = [np.flatnonzero(image[HEIGHT // 2, :, 0] > 150) for image in images]
        boxes = [np.array([[c.min(), 8, c.max() + 1, HEIGHT - 4]], np.float32) for c in columns]
        return [Detections(own, np.ones(1)) for own in boxes]

    def __call__(
        self, images: Any, boxes: Any = None, intrinsics: Any = None, *, turns: Any = None, refine: bool | None = None
    ) -> list[PersonPrediction]:
        """Predictions of the boxes of images."""
        return [self._person(i, image, box) for i, image in enumerate(images) for box in boxes[i]]

    def _person(self, index: int, image: np.ndarray, box: np.ndarray) -> PersonPrediction:
        place = np.array([*((box[:2] + box[2:]) / 2 - (WIDTH / 2, HEIGHT / 2)) / 20, 4.0])
        pixels = (self._points + place)[:, :2] / (self._points + place)[:, 2:] * 80 + (WIDTH / 2, HEIGHT / 2)
        return PersonPrediction(
            image_index=index, box=box, box_center=(box[:2] + box[2:]) / 2, box_size=float(box[3] - box[1]),
            focal_length=np.full(2, 80.0), principal_point=np.array([WIDTH / 2, HEIGHT / 2]), translation=place,
            global_orient=np.diag([1.0, -1, -1])[None], body_pose=np.tile(np.eye(3), (23, 1, 1)), betas=np.zeros(10),
            camera=np.ones(3), joints=self._joints, keypoints_3d=self._points, keypoints_2d=self._points[:, :2],
            keypoints_image=pixels, vertices=np.zeros((1, 3)), crop=image[:1, :1], sigma=np.full(44, 0.05),
        )  # fmt: skip


def main() -> None:
    """Measures the lengths asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 20])
    parser.add_argument("--overlay", action="store_true", help="draw, too")
    options = parser.parse_args()
    runtime.set_up(inference=True)
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), round(minutes * 60 * RATE), options.overlay)


def measure(folder: Path, frames: int, overlay: bool) -> None:
    """Prints a line."""
    source = folder / "walk.mp4"
    with writing_mp4(source, (WIDTH, HEIGHT), Fraction(RATE)) as writer:
        for number in range(frames):
            image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            left = 10 + round(10 * np.sin(number / 40))
            image[8 : HEIGHT - 4, left : left + 18] = 220, 40, 40
            writer.write(image, number / RATE)
    seen: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            seen.append((time.perf_counter(), memory()))

    thread = threading.Thread(target=watch)
    start, before = time.perf_counter(), memory()
    thread.start()
    kinds = ("json", "npz", "overlay") if overlay else ("json", "npz")
    result = predict_video(Figure(), source, folder / "out", kinds=kinds)  # type: ignore[arg-type]
    done.set()
    thread.join()
    spent = time.perf_counter() - start
    moments = [np.searchsorted([t for t, _ in seen], start + share * spent) for share in (0.25, 0.5, 0.75)]
    fourths = ", ".join(f"{seen[min(moment, len(seen) - 1)][1]:.0f}" for moment in moments)
    people, largest = len(result.people), max(size for _, size in seen)
    print(f"{frames:,} frames, {people} people, {spent:.0f} s; MB: {before:.0f} before; {fourths} at each fourth of "
          f"the time; {memory():.0f} at the end; {largest:.0f} the largest", flush=True)  # fmt: skip


def memory() -> float:
    """Of this process, resident, MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
