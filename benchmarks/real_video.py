"""Scores motions of a real person's videos: frame by frame, smoothed, with feet held, and refined as a whole.

`python -m benchmarks.real_video`, a part of `make bench-real`. The capture and its truth are those of
`benchmarks.real_capture`, in every frame. PA-MPJPE is that of the capture's joints. Accelerations are those of the
joints in the camera, with the middle of the hips at the origin, beside those of the truth. A foot stands where its true
ankle moves by less than 0.2 m/s; it slides by as much as its predicted ankle moves from frame to frame.

Shapes: F frames, J joints.
"""

import argparse
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from benchmarks.multiview.demo import download, open_capture
from benchmarks.multiview.joints import JOINTS
from benchmarks.real_capture import find_joints, make_truth
from hmr_jax import cli, runtime
from hmr_jax.body.joints import SMPL_24
from hmr_jax.geometry import similarity_align
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.inference import Predictor
from hmr_jax.io.cache import cache_folder
from hmr_jax.video import Motion, PersonTrack, VideoResult, predict_video
from hmr_jax.video.footing import planted
from hmr_jax.video.motion import smoothed
from hmr_jax.video.posing import Posing
from hmr_jax.video.smoothing import smooth_points

STILL = 0.2  # m/s of an ankle that stands
IDS = [SMPL_24.index(name) for name in JOINTS]
ANKLES = [JOINTS.index(f"{side}_ankle") for side in ("left", "right")]
HIPS = [JOINTS.index(f"{side}_hip") for side in ("left", "right")]


def main() -> None:
    """Prints a line for each camera and kind of motion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="default: shipped")
    parser.add_argument("--demo", type=Path, help="the unpacked folder Demo_SinglePerson; default: download")
    options = parser.parse_args()
    runtime.set_up(inference=True)
    with cli.one_line_errors():
        run(options)


def run(options: argparse.Namespace) -> None:
    """The whole benchmark."""
    cache = cache_folder() or Path("runs/real_capture")
    capture = open_capture(options.demo or download(cache))
    truth, cameras = make_truth(capture.cameras, find_joints(capture, cache), refine=True)
    world = smooth_points(truth.world.astype(np.float64), np.arange(len(truth.world)) / 60, 0.1)
    predictor = Predictor.from_checkpoint(options.checkpoint)
    rows = []
    for camera, video in zip(cameras, capture.videos, strict=True):
        kinds = motions(predictor, video, camera, world)
        rows.append([score(motion, camera, world) for motion in kinds.values()])
        for name, row in zip(kinds, rows[-1], strict=True):
            print(line(camera.name, name, row), flush=True)
    for name, row in zip(kinds, np.mean(rows, 0), strict=True):
        print(line("all", name, row))


def motions(predictor: Predictor, video: Path, camera: Camera, world: np.ndarray) -> dict[str, Motion]:
    """The person's motion in a video, by kind."""

    def person(**options: bool) -> PersonTrack:
        with tempfile.TemporaryDirectory() as folder:
            options = {"intrinsics": of(camera), "kinds": (), **options}
            return who(predict_video(predictor, video, folder, **options), camera, world)

    whole, single = person(), person(smooth=False)
    posing = Posing(predictor.body)
    smooth = smoothed(whole.unsmoothed, posing)
    return {
        "network, frame by frame": whole.unsmoothed,
        "network, smoothed": smooth,
        "network, smoothed, feet held": planted(smooth, posing),
        "refined, frame by frame": single.motion,
        "refined, smoothed": smoothed(single.motion, posing),
        "refined as a whole": whole.motion,
    }


def of(camera: Camera) -> list[float]:
    """fx, fy, cx, cy of a camera, px."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    return [fx, fy, cx, cy]


def who(result: VideoResult, camera: Camera, world: np.ndarray) -> PersonTrack:
    """The person of a video whose joints are nearest in the image to those of the truth."""

    def away(person: PersonTrack) -> float:
        motion = person.motion
        placed = motion.joints[:, IDS] + motion.translation[:, None]
        seen = placed[..., :2] / placed[..., 2:] * motion.focal_length + motion.principal_point
        return float(np.median(np.linalg.norm(seen - camera.project(world[motion.frames]), axis=-1)))

    return min(result.people, key=away)


def score(motion: Motion, camera: Camera, world: np.ndarray) -> list[float]:
    """PA-MPJPE, mm; acceleration error, mm per frame^2; speed of ankles that stand, m/s."""
    true, joints = camera.to_camera(world[motion.frames]), motion.joints[:, IDS] + motion.translation[:, None]
    aligned = np.asarray(similarity_align(jnp.asarray(joints), jnp.asarray(true)))
    error = 1000 * np.linalg.norm(aligned - true, axis=-1).mean()
    rooted = [points - points[:, HIPS].mean(1, keepdims=True) for points in (joints, true)]
    bend = 1000 * np.linalg.norm(np.diff(rooted[0] - rooted[1], 2, axis=0), axis=-1).mean()
    still = np.linalg.norm(np.gradient(true[:, ANKLES], motion.times, axis=0), axis=-1) < STILL
    speed = np.linalg.norm(np.diff(joints[:, ANKLES], axis=0), axis=-1) / np.diff(motion.times)[:, None]
    return [error, bend, speed[still[1:] & still[:-1]].mean()]


def line(camera: str, kind: str, row) -> str:
    """Of the table."""
    error, bend, slide = row
    return f"{camera:6} {kind:29} PA-MPJPE {error:.1f} mm, acceleration {bend:.1f} mm/frame2, sliding {slide:.3f} m/s"


if __name__ == "__main__":
    main()
