"""The files of a video: one npz a person, and a summary; docs/video.md describes them.

Shapes: F frames of a person, T frames of the video.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.body import BodyModel
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.io import atomic
from hmr_jax.io.json_files import write_json
from hmr_jax.rendering.animation import Animation, Rig, write_animated_glb, write_bvh
from hmr_jax.rendering.export import Axes
from hmr_jax.rendering.overlay import PALETTE
from hmr_jax.video.frames import VideoInfo
from hmr_jax.video.motion import Motion

SCHEMA = 1
"""Version of the layout of both files; it increases when readers must change."""


@dataclass(frozen=True)
class PersonTrack:
    """A person of a video."""

    number: int
    """Of the person, from 0 on; part of the file's name."""
    motion: Motion
    """As it was written: smoothed, if that was asked for."""
    unsmoothed: Motion
    """The predictions frame by frame, with gaps interpolated."""


@dataclass(frozen=True)
class VideoResult:
    """The people of a video."""

    info: VideoInfo
    """Of the video."""
    times: np.ndarray
    """(T,) seconds of all its frames."""
    shots: list[tuple[int, int]]
    """First frame of each shot and the one after its last."""
    people: list[PersonTrack]
    """By their first frame."""
    files: list[Path] = field(default_factory=list)
    """Written."""


def person_file(output: Path, name: str, number: int) -> Path:
    """The file of a person."""
    return output / f"{name}_person_{number}.npz"


def animation_files(output: Path, name: str, number: int) -> tuple[Path, Path]:
    """The skinned, animated mesh and the skeleton of a person: .glb and .bvh."""
    stem = person_file(output, name, number).with_suffix("")
    return stem.with_suffix(".glb"), stem.with_suffix(".bvh")


def overlay_file(output: Path, name: str) -> Path:
    """The video with the bodies drawn over it."""
    return output / f"{name}_overlay.mp4"


def summary_file(output: Path, name: str) -> Path:
    """The summary."""
    return output / f"{name}_video.json"


def remove_old(output: Path, name: str, people: int, overlay: bool) -> None:
    """Removes results of an earlier run that are not of this one."""
    numbers = (person_file(output, name, number) for number in itertools.count(people))
    for number, path in reversed(list(enumerate(itertools.takewhile(Path.exists, numbers), start=people))):
        for file in animation_files(output, name, number):
            file.unlink(missing_ok=True)
        path.unlink()  # the last number first: an interruption leaves no gap
    if not overlay:
        overlay_file(output, name).unlink(missing_ok=True)


def write_person(
    path: Path, person: PersonTrack, mean_betas: np.ndarray, rate: float, header: Mapping[str, Any]
) -> None:
    """Writes a person's npz file.

    Args:
        path: of the file.
        person: the person.
        mean_betas: (10,) the one shape of the person.
        rate: frames per second of the video.
        header: strings and numbers that say where the numbers are from.
    """
    motion = person.motion
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "poses": motion.rotations.reshape(-1, 72).astype(np.float32),
        "betas": mean_betas.astype(np.float32),
        "trans": motion.translation.astype(np.float32),
        "mocap_framerate": float(rate),
        "gender": "neutral",
        "frames": motion.frames.astype(np.int64),
        "times": motion.times.astype(np.float64),
        "interpolated": ~motion.predicted,
        "joints": motion.joints.astype(np.float32),
        "keypoints_3d": motion.keypoints_3d.astype(np.float32),
        "keypoints_image": motion.keypoints_image.astype(np.float32),
        "boxes": motion.boxes.astype(np.float32),
        "focal_length": motion.focal_length,
        "principal_point": motion.principal_point,
        "joint_names": np.array(SMPL_24),
        "keypoint_names": np.array(KEYPOINTS_44),
        **header,
    }
    if motion.sigma is not None:
        arrays["sigma"] = motion.sigma.astype(np.float32)
    if np.ptp(motion.betas, 0).max() > 0:
        arrays["frame_betas"] = motion.betas.astype(np.float32)
    atomic.write_npz(path, {name: np.asarray(value) for name, value in arrays.items()})


def write_animation(
    files: tuple[Path, Path], body: BodyModel, person: PersonTrack, shape: np.ndarray, axes: Axes
) -> None:
    """Writes the motion of a person for animation tools.

    Args:
        files: of `animation_files`.
        body: of the predictions.
        person: whose motion is written.
        shape: (10,) betas for all frames.
        axes: of the files.
    """
    motion = person.motion
    betas = np.pad(shape, (0, body.num_betas - len(shape)))
    vertices = np.asarray(body.v_template) + np.asarray(body.shapedirs) @ betas
    joints = np.asarray(body.joint_regressor) @ vertices
    rig = Rig(vertices, body.faces, joints, body.parents, np.asarray(body.skinning_weights), SMPL_24)
    animation = Animation(motion.times, motion.rotations, motion.translation)
    write_animated_glb(files[0], rig, animation, PALETTE[person.number % len(PALETTE)], axes)
    write_bvh(files[1], rig, animation, axes)


def write_summary(
    path: Path, header: Mapping[str, Any], result: VideoResult, betas: Sequence[np.ndarray], name: str
) -> None:
    """Writes the summary: what the video is, its shots, and who is in it when.

    Args:
        path: of the file.
        header: its first fields.
        result: what it is about.
        betas: (10,) of each person.
        name: of the files, without ending.
    """
    people = [
        {
            "file": person_file(path.parent, name, person.number).name,
            "first_frame": int(person.motion.frames[0]),
            "last_frame": int(person.motion.frames[-1]),
            "start": round(float(person.motion.times[0]), 6),
            "end": round(float(person.motion.times[-1]), 6),
            "predicted_frames": int(person.motion.predicted.sum()),
            "interpolated_frames": int((~person.motion.predicted).sum()),
            "betas": [round(float(value), 6) for value in shape],
        }
        for person, shape in zip(result.people, betas, strict=True)
    ]
    shots = [{"first_frame": low, "last_frame": high - 1} for low, high in result.shots]
    write_json(path, {"schema": SCHEMA, **header, "shots": shots, "people": people})
