"""The files of a video; docs/video.md describes them.

Shapes: F frames of a person, V vertices.
"""

import itertools
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry.intrinsics import DEFAULT_FIELD_OF_VIEW
from hmr_jax.inference.results import check_kinds
from hmr_jax.io import atomic
from hmr_jax.io.json_files import write_json
from hmr_jax.rendering.animation import animated_glb, write_animated_glb, write_bvh
from hmr_jax.rendering.export import Axes
from hmr_jax.rendering.overlay import PALETTE
from hmr_jax.rendering.player import Model, player_page
from hmr_jax.rendering.rerun_files import check_rerun
from hmr_jax.rendering.usd import check_usd, write_usd
from hmr_jax.video.kinds import VIDEO_KINDS, VideoKind
from hmr_jax.video.posing import Posing
from hmr_jax.video.results import SCHEMA, PersonTrack, VideoResult

_OF_PEOPLE = {"npz": ".npz", "glb": ".glb", "bvh": ".bvh", "usd": ".usdc", "track": ".json"}
_OF_VIDEOS = {"pkl": "_people.pkl", "html": "_video.html", "rrd": "_video.rrd", "overlay": "_overlay.mp4"}
_LARGEST_SHOWN = 100 << 20  # bytes of a video inside a page


def check_video_kinds(kinds: Collection[str], axes: Axes) -> None:
    """Raises ValueError if there is no such kind, or the axes are none of its, ImportError if a package is missing."""
    check_kinds(kinds, VIDEO_KINDS)
    if "usd" in kinds:
        check_usd(axes)
    if "rrd" in kinds:
        check_rerun()


def person_file(output: Path, name: str, number: int, kind: str) -> Path:
    """A file of a person."""
    return output / f"{name}_person_{number}{_OF_PEOPLE[kind]}"


def video_file(output: Path, name: str, kind: str) -> Path:
    """A file of the whole video; "json" is the summary."""
    return output / f"{name}{(_OF_VIDEOS | {'json': '_video.json'})[kind]}"


def remove_old(output: Path, name: str, keep: Collection[Path]) -> None:
    """Removes results of an earlier run that are not of this one."""
    kept = set(keep)
    for kind in _OF_VIDEOS:
        if (file := video_file(output, name, kind)) not in kept:
            file.unlink(missing_ok=True)
    people = []
    for number in itertools.count():
        files = [person_file(output, name, number, kind) for kind in _OF_PEOPLE]
        if not any(file.exists() for file in files):
            break
        people.append(files)
    for files in reversed(people):  # the last number first: an interruption leaves no gap
        for file in files:
            if file not in kept:
                file.unlink(missing_ok=True)


def write_person(
    output: Path, name: str, person: PersonTrack, result: VideoResult, kinds: Collection[VideoKind], axes: Axes
) -> list[Path]:
    """Writes the files of a person, those of `kinds`, and returns them.

    Args:
        output: folder of the results.
        name: of the files, without ending.
        person: whose motion is written.
        result: which the person is of.
        kinds: of files.
        axes: of the animations.
    """
    rate, color = float(result.info.rate), PALETTE[person.number % len(PALETTE)]
    written = []
    for kind in _OF_PEOPLE:
        if kind not in kinds:
            continue
        path = person_file(output, name, person.number, kind)
        if kind == "npz":
            _write_npz(path, person, result)
        elif kind == "glb":
            write_animated_glb(path, person.rig, person.animation, color, axes)
        elif kind == "bvh":
            write_bvh(path, person.rig, person.animation, axes)
        elif kind == "track":
            write_json(path, result.track(person))
        else:
            write_usd(path, person.rig, person.animation, rate, color, axes)
        written.append(path)
    return written


def _write_npz(path: Path, person: PersonTrack, result: VideoResult) -> None:
    about = result.about
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        **person.arrays(),
        "mocap_framerate": float(result.info.rate),
        "gender": "neutral",
        "joint_names": np.array(SMPL_24),
        "keypoint_names": np.array(KEYPOINTS_44),
        "checkpoint": str(about["checkpoint"]["name"]),
        "video": about["video"]["file"],
        **{name: about[name] for name in ("topology", "axes", "version")},
    }
    atomic.write_npz(path, {key: np.asarray(value) for key, value in arrays.items()})


def write_summary(path: Path, name: str, result: VideoResult, kinds: Collection[VideoKind]) -> None:
    """Writes the summary; people have the name of their file if there is one."""
    made = result.summary()
    first = next((kind for kind in _OF_PEOPLE if kind in kinds), None)
    for number, person in enumerate(made["people"]):
        if first is not None:
            made["people"][number] = {"file": person_file(path.parent, name, number, first).name, **person}
    write_json(path, made)


def write_page(path: Path, result: VideoResult, overlay: Path | None) -> None:
    """Writes a page of one file in which the bodies move, beside the video with the bodies if there is one.

    Args:
        path: of the page.
        result: what is shown.
        overlay: the video, which is left out where it is too large for a page.
    """
    models, fov = [], DEFAULT_FIELD_OF_VIEW
    for person in result.people:
        glb = animated_glb(person.rig, person.animation, PALETTE[person.number % len(PALETTE)])
        models.append(Model(glb, float(person.motion.times[0]), float(person.motion.times[-1])))
        # The camera is one for all.
        fov = float(np.degrees(2 * np.arctan2(result.info.height / 2, person.motion.focal_length[1])))
    video = b""
    if overlay is not None and overlay.stat().st_size <= _LARGEST_SHOWN:
        video = overlay.read_bytes()
    duration = float(result.times[-1]) if len(result.times) else 0.0
    title = result.about["video"]["file"]
    aspect = result.info.width / result.info.height
    atomic.write_text(path, player_page(title, models, duration, float(result.info.rate), fov, video, aspect))


def write_pickle(path: Path, result: VideoResult, posing: Posing) -> None:
    """Writes a pickle as VIBE and PARE do: {person: {"pose", "betas", "verts", "joints3d", "orig_cam", ...}}.

    It holds dictionaries, arrays and numbers only; `joblib.load` and `pickle.load` read it.

    Args:
        path: of the file.
        result: what is written.
        posing: of the body, for the vertices.
    """
    size = np.array([result.info.width, result.info.height], np.float64)
    with atomic.writing(path) as part:
        people = {person.number: _as_vibe(person, size, posing) for person in result.people}
        part.write_bytes(pickle.dumps(people, protocol=4))


_SPIN_REST = (0, 16, 15, 18, 17)  # of OpenPose: nose, eyes and ears, the left ones first, which end SPIN's 49


def _as_vibe(person: PersonTrack, size: np.ndarray, posing: Posing) -> dict[str, np.ndarray]:
    """The arrays of a person, whose bodies are relative to the camera; cameras are weak-perspective."""
    motion = person.motion
    points = motion.keypoints_3d.astype(np.float64)
    scales, shift = fit_weak_perspective(points, motion.keypoints_image, size)
    low, high = motion.boxes[:, :2], motion.boxes[:, 2:]
    center, side = (low + high) / 2, (high - low).max(1)
    in_crop = shift - (center / size * 2 - 1) / scales
    vertices = [posing.vertices(*each) for each in zip(motion.betas, motion.rotations, strict=True)]
    return {
        "pred_cam": np.stack([scales[:, 0] * size[0] / side, *in_crop.T], 1).astype(np.float32),
        "orig_cam": np.concatenate([scales, shift], 1).astype(np.float32),
        "verts": np.array(vertices, np.float32),
        "pose": motion.rotations.reshape(-1, 72).astype(np.float32),
        "betas": motion.betas.astype(np.float32),
        "joints3d": np.concatenate([points, points[:, _SPIN_REST]], 1).astype(np.float32),
        "joints2d": motion.keypoints_image.astype(np.float32),
        "bboxes": np.concatenate([center, np.repeat(side[:, None], 2, 1)], 1).astype(np.float32),
        "frame_ids": motion.frames.astype(np.int64),
    }


def fit_weak_perspective(points: np.ndarray, seen: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weak-perspective cameras by which points are seen where they were, by least squares.

    A point is at scale * (point + shift) in the image, whose x and y go from -1 to 1.

    Args:
        points: (F, K, 3) metres.
        seen: (F, K, 2) px.
        size: (2,) of the image, px.

    Returns:
        Scales (F, 2), equal in pixels, and shifts (F, 2), metres.
    """
    middle, center = points[..., :2].mean(1, keepdims=True), seen.mean(1, keepdims=True)
    flat = points[..., :2] - middle
    pixels = (flat * (seen - center)).sum((1, 2)) / (flat**2).sum((1, 2))  # per metre
    scales = 2 * pixels[:, None] / size
    return scales, (center[:, 0] / size * 2 - 1) / scales - middle[:, 0]
