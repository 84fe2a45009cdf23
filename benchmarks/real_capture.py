"""Scores a checkpoint on a real person: `python -m benchmarks.real_capture` or `make bench-real`.

Four calibrated cameras see a person on a beam (the demo of Pose2Sim, BSD-3-Clause, downloaded from PyPI). Twelve joints
are triangulated from BlazePose's landmarks, written as a capture, built into records by the builder `mlb_pitch`, and
scored by eval.py under the protocol `capture-12`; and once more by `Predictor`, which turns crops upright.
docs/benchmarks/real_people.md has the figures.

Shapes: V views, F frames, J joints.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.multiview import scoring
from benchmarks.multiview.demo import WHEEL, Capture, download, open_capture, read_video
from benchmarks.multiview.joints import JOINTS, LANDMARKS
from benchmarks.multiview.records import Truth, views_of, write_capture, write_images
from data_pipelines.build import build
from hmr_commands import evaluate
from hmr_jax import cli, runtime
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.detection import Detector
from hmr_jax.evaluation.results import read_result
from hmr_jax.evaluation.tables import align
from hmr_jax.geometry.attitudes import refine_attitudes
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.triangulation import triangulate
from hmr_jax.inference import Predictor
from hmr_jax.io import atomic
from hmr_jax.io.cache import cache_folder
from hmr_jax.protocols import get_protocol
from hmr_jax.video.capture.landmarks import LandmarkNetwork, first_person, track

PROTOCOL = "capture-12"
BONES = {
    "upper arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shank": ("knee", "ankle"),
}
_TRACKING = "2"  # changes with what `find_joints` computes


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a run, a checkpoint or an exported folder; default: shipped")
    parser.add_argument(
        "--demo", type=Path, help=f"the unpacked folder Demo_SinglePerson of {WHEEL}; default: download"
    )
    parser.add_argument("--every", type=int, default=10, help="every how many frames there is a moment to score")
    parser.add_argument("--as-calibrated", action="store_true", help="do not refine the cameras' attitudes")
    parser.add_argument(
        "--compare", type=Path, help="an npz file with frames and joints_world to compare the truth with"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real_capture"), help="folder of everything that is made")
    options = parser.parse_args()
    with cli.one_line_errors():
        run(options)


def run(options: argparse.Namespace) -> None:
    """The whole benchmark."""
    if options.every < 1:
        raise ValueError(f"--every {options.every}: give 1 or more.")
    runtime.set_up(inference=True)
    cache = cache_folder() or options.out
    capture = open_capture(options.demo or download(cache))
    joints = find_joints(capture, cache)
    truth, cameras = make_truth(capture.cameras, joints, not options.as_calibrated)
    if options.compare:
        print_comparison(truth, options.compare)
    moments = Truth(*(part[:: options.every] for part in (truth.frames, truth.world, truth.error)))

    folder = options.out / "capture"
    views = views_of(moments, cameras, folder)
    wanted = set(moments.frames.tolist())
    for camera, video in zip(cameras, capture.videos, strict=True):
        frames = {number: frame for number, frame in enumerate(read_video(video)) if number in wanted}
        write_images([view for view in views if view.camera == camera.name], {camera.name: frames})
    write_capture(moments, cameras, views, folder)
    build("mlb_pitch", options.out / "data", folder, overwrite=True)

    checkpoint = options.checkpoint or SHIPPED_MODEL
    result = options.out / "evaluation.json"
    evaluate.main((checkpoint,), (PROTOCOL,), str(options.out / "data"), batch_size=8, output=result)
    stored = scoring.rows_of_result(*read_result(result))
    predictor = Predictor.from_checkpoint(options.checkpoint)
    found = scoring.predict(predictor, views)
    upright = scoring.score_views(get_protocol(PROTOCOL), predictor.body, views, found)
    print(f"\n{checkpoint}, {len(moments.frames)} moments, protocol {PROTOCOL}")
    print("\n".join(text_table({"eval.py, crops as stored": stored, "Predictor, upright crops": upright})))
    turns = np.array([one.box_turn for one in found]).reshape(len(cameras), -1)
    print("turn of the upright crops, degrees, median: " + named(cameras, np.median(turns, 1), ".0f"))
    focal = np.array([one.focal_length.mean() for one in found]).reshape(len(cameras), -1)[:, 0]
    print("focal length, assumed to true: " + named(cameras, focal / [one.focal_length for one in cameras], ".2f"))
    distance = np.median(scoring.distance_ratios(views, found).reshape(len(cameras), -1), 1)
    print("distance, predicted to true, median: " + named(cameras, distance, ".2f"))


def find_joints(capture: Capture, cache: Path) -> np.ndarray:
    """(V, F, J, 3) px and confidence of the person in every frame; kept in the folder `cache`."""
    digest = hashlib.sha256(_TRACKING.encode())
    for video in capture.videos:
        digest.update(video.read_bytes())
    file = cache / f"landmarks-{digest.hexdigest()[:16]}.npz"
    if file.exists():
        with np.load(file) as arrays:
            return arrays["joints"]
    start = time.perf_counter()
    network, find, found = LandmarkNetwork(), first_person(Detector()), []
    for camera, video in zip(capture.cameras, capture.videos, strict=True):
        found.append(np.stack(list(track(network, find, read_video(video))))[:, LANDMARKS])
        print(f"{camera.name}: {len(found[-1])} frames, mean confidence {found[-1][..., 2].mean():.2f}", flush=True)
    joints = np.stack([one[: min(map(len, found))] for one in found])
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_npz(file, {"joints": joints})
    print(f"landmarks: {time.perf_counter() - start:.0f} s")
    return joints


def make_truth(cameras: list[Camera], joints: np.ndarray, refine: bool) -> tuple[Truth, list[Camera]]:
    """Triangulates joints (V, F, J, 3) and prints how good they are; the cameras come back with refined attitudes."""
    count, frames = joints.shape[:2]
    pixels, weights = joints[..., :2].reshape(count, -1, 2), joints[..., 2].reshape(count, -1)
    if refine:
        cameras, degrees = refine_attitudes(cameras, pixels, weights)
        print("attitudes turned by, degrees: " + named(cameras, degrees, ".2f"))
    points = triangulate(cameras, pixels, weights)
    truth = Truth(np.arange(frames), points.world.reshape(frames, -1, 3), points.mean_error.reshape(frames, -1))
    middle, high = np.quantile(points.mean_error, [0.5, 0.9])
    print(f"reprojection error, px: median {middle:.1f}, 90 % {high:.1f}")
    print("share of points without a view, %: " + named(cameras, 100 * (~points.used).mean(1), ".0f"))
    print("joint, median px: " + ", ".join(
        f"{name} {error:.1f}" for name, error in zip(JOINTS, np.median(truth.error, 0), strict=True)))  # fmt: skip
    print("limb, left and right, mm, mean and standard deviation: " + "; ".join(
        f"{name} " + ", ".join(f"{1000 * lengths.mean():.0f} ({1000 * lengths.std():.0f})" for lengths in pair)
        for name, pair in limb_lengths(truth.world).items()))  # fmt: skip
    return truth, cameras


def named(cameras: Sequence[Camera], values: np.ndarray, spec: str) -> str:
    """The cameras' names with a number each."""
    return ", ".join(f"{camera.name} {value:{spec}}" for camera, value in zip(cameras, values, strict=True))


def limb_lengths(world: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Lengths (F,) of the left and right limbs in joints (F, J, 3), metres."""

    def length(side: str, ends: tuple[str, str]) -> np.ndarray:
        one, other = (world[:, JOINTS.index(f"{side}_{end}")] for end in ends)
        return np.linalg.norm(one - other, axis=-1)

    return {name: (length("left", ends), length("right", ends)) for name, ends in BONES.items()}


def print_comparison(truth: Truth, file: Path) -> None:
    """Prints how far the truth is from another one, at the moments that both have."""
    with np.load(file) as other:
        frames = [int(frame) for frame in other["frames"] if frame < len(truth.frames)]
        theirs = other["joints_world"][: len(frames)]
    ours = truth.world[frames]
    hips = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]
    moved = [joints - joints[:, hips].mean(1, keepdims=True) for joints in (ours, theirs)]
    plain, rooted = (1000 * np.linalg.norm(a - b, axis=-1).mean() for a, b in ((ours, theirs), moved))
    print(
        f"distance from {file.name}, {len(frames)} moments, mm: {plain:.1f}, with mid-hips at the origin {rooted:.1f}"
    )


def text_table(parts: dict[str, list[scoring.Row]]) -> list[str]:
    """A line for each row of each part."""
    protocol = get_protocol(PROTOCOL)
    labels = [f"{protocol.label(name)}, {protocol.unit(name)}" for name in scoring.METRICS]
    lines = [["", "camera", "views", *labels, "2-D within 0.1, %", "limbs, %"]]
    for title, rows in parts.items():
        for row in rows:
            shares = ["" if share is None else f"{100 * share:.1f}" for share in (row.near, row.near_limbs)]
            values = [f"{value:.1f}" for value in (row.mpjpe, row.pa_mpjpe, row.pck)]
            lines.append([title, row.camera, str(row.count), *values, *shares])
    return align(lines)


if __name__ == "__main__":
    main()
