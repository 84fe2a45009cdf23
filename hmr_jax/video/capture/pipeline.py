"""From calibrated cameras and what they saw to one body for each moment.

    cameras = read_calibration("Calib.toml")
    capture = predict_capture(cameras, {"cam01": "cam01.mp4", "cam02": "cam02.mp4"}, "captured")
    capture.bodies.rotations

All views must show the same moments: frame k of each is the same time.

Shapes: V views, F frames, H, W a frame.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hmr_jax import __version__
from hmr_jax.body import BodyModel, load_body_model
from hmr_jax.detection import Detector, PersonDetector
from hmr_jax.geometry.attitudes import refine_attitudes
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.triangulation import triangulate
from hmr_jax.inference.earlier import file_identity
from hmr_jax.io.images import is_video
from hmr_jax.video.capture.bodies import fit_bodies
from hmr_jax.video.capture.landmarks import SCALES, LandmarkNetwork, first_person, track
from hmr_jax.video.capture.result import MAIN, Capture, Up, find_up
from hmr_jax.video.capture.views import View, match_inputs, of_landmarks, read_view, same_rate, source_of, write_view
from hmr_jax.video.frames import read_frames, read_info

RATE = 30.0
"""Frames per second where no view knows it."""
_SAME_ASPECT = 0.03


def predict_capture(
    cameras: Sequence[Camera],
    inputs: Mapping[str, str | Path] | Sequence[str | Path],
    output: str | Path,
    refine_cameras: bool = False,
    rate: float | None = None,
    up: Up = "auto",
    body: BodyModel | None = None,
    detector: PersonDetector | None = None,
) -> Capture:
    """The person of a capture; keypoints of videos are kept as `keypoints/NAME.npz` in the folder of the results.

    Args:
        cameras: calibrated, with their places.
        inputs: videos, folders of OpenPose's JSON, or npz files of keypoints: by the cameras' names, or such that their
            names say which camera they are of, see `match_inputs`.
        output: folder of the results; created if needed.
        refine_cameras: whether the cameras are turned about their positions until they agree best; three or more.
        rate: frames per second of files that do not know it; None: `RATE`.
        up: the world's axis that points up; "auto": that along which the person stands.
        body: that is fitted; None: the default body.
        detector: finds the person; None: the built-in one.

    Raises:
        FileNotFoundError: an input is not there.
        ValueError: inputs do not belong to the cameras, do not fit to the calibration or to each other, or nobody is
            seen by two cameras.
        ImportError: there are videos, and PyAV is not installed.
    """
    output = Path(output)
    given = [f"{name}={path}" for name, path in inputs.items()] if isinstance(inputs, Mapping) else inputs
    matched = match_inputs(cameras, given)
    chosen = _usable([camera for camera in cameras if camera.name in matched])
    views = _views(matched, output, detector)
    frames = _same_length(views)
    chosen = [_fitted(camera, view) for camera, view in zip(chosen, views, strict=True)]
    keypoints = np.stack([view.keypoints[:frames] for view in views])
    turned = np.zeros(len(chosen))
    if refine_cameras:
        part = keypoints[:, :, list(MAIN)]
        weights = part[..., 2].reshape(len(chosen), -1)
        chosen, turned = refine_attitudes(chosen, part[..., :2].reshape(len(chosen), -1, 2), weights)
    seen = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    points = triangulate(chosen, seen, keypoints[..., 2])
    body = body or load_body_model()
    bodies = fit_bodies(body, chosen, keypoints, points)
    known = same_rate(views) or rate or RATE
    return Capture(
        chosen, turned, known, keypoints, points, bodies, find_up(bodies) if up == "auto" else up, body,
        {name: str(path) for name, path in matched.items()},
    )  # fmt: skip


def _usable(cameras: list[Camera]) -> list[Camera]:
    """The cameras; raises ValueError if they are too few, or one of them was not placed."""
    if len(cameras) < 2:
        raise ValueError(f"A capture needs two cameras or more with inputs, not {len(cameras)}.")
    for camera in cameras:
        if not camera.placed:
            raise ValueError(
                f"The calibration does not say where camera '{camera.name}' stands: it needs a rotation and a "
                "translation."
            )
    return cameras


def _views(inputs: Mapping[str, Path], output: Path, detector: PersonDetector | None) -> list[View]:
    """What each camera saw, in the order of the inputs."""
    network, views = None, []
    for name, path in inputs.items():
        if not is_video(path):
            views.append(read_view(name, path))
            continue
        kept, source = output / "keypoints" / f"{name}.npz", _source(path)
        if source_of(kept) == source:
            views.append(read_view(name, kept))
            continue
        info = read_info(path)
        network = network or LandmarkNetwork()
        detector = detector or Detector()
        frames = (frame.image for frame in read_frames(path))
        bar = tqdm(
            track(network, first_person(detector), frames), desc=name, total=info.frames or None, unit="frame",
            disable=not sys.stderr.isatty(),
        )  # fmt: skip
        view = of_landmarks(name, np.stack(list(bar)), (info.width, info.height), info.rate)
        if not (view.keypoints[..., 2] > 0).any():
            warnings.warn(f"Nobody is seen in {path.name}.", stacklevel=3)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_view(kept, view, source)
        views.append(view)
    return views


def _source(video: Path) -> str:
    """What the keypoints of a video depend on: 32 hexadecimal digits."""
    text = json.dumps([__version__, SCALES, file_identity(video)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _same_length(views: Sequence[View]) -> int:
    """Frames that all views have; warns where some have more."""
    counts = {view.name: len(view.keypoints) for view in views}
    fewest = min(counts.values())
    if not fewest:
        raise ValueError(f"The view of {min(counts, key=lambda name: counts[name])} has no frames.")
    if max(counts.values()) > fewest:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        warnings.warn(f"The views have different numbers of frames ({told}): {fewest} are used.", stacklevel=3)
    return fewest


def _fitted(camera: Camera, view: View) -> Camera:
    """The camera for the size of the frames in which keypoints were found."""
    if view.image_size is None or camera.image_size is None or view.image_size == camera.image_size:
        return camera
    (width, height), (of_width, of_height) = view.image_size, camera.image_size
    if abs(width * of_height / (height * of_width) - 1) > _SAME_ASPECT:
        raise ValueError(
            f"Camera '{camera.name}' was calibrated with images of {of_width}x{of_height}, but its video has "
            f"{width}x{height}: give a video that is not cropped or turned."
        )
    return camera.shown_at(width, height)
