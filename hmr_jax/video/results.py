"""What is found in a video: its people and their motion, which can be read on in other programs.

    result = predict_video(predictor, "clip.mp4", "predictions")
    result.to_pandas().loc[0, "z"].plot()

Shapes: F frames of a person, T frames of the video.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.rendering.animation import Animation, Rig
from hmr_jax.rendering.export import plain
from hmr_jax.video.frames import VideoInfo
from hmr_jax.video.motion import Motion
from hmr_jax.video.world import World, in_world

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
"""Version of the layout of the files; it increases when readers must change."""


@dataclass(frozen=True)
class PersonTrack:
    """A person of a video."""

    number: int
    """Of the person, from 0 on; part of the file's name."""
    motion: Motion
    """As it was written: smoothed, if that was asked for."""
    unsmoothed: Motion
    """The predictions frame by frame, with gaps interpolated."""
    betas: np.ndarray
    """(10,) the one shape of the person."""
    rig: Rig
    """The body of this shape, for animation tools."""
    world: World | None = None
    """Level axes of the person's shot."""

    @property
    def animation(self) -> Animation:
        """The motion of the rig."""
        return Animation(self.motion.times, self.motion.rotations, self.motion.translation)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the npz file of the person holds, by name, but for where it is from."""
        motion = self.motion
        made: dict[str, Any] = {
            "poses": motion.rotations.reshape(-1, 72).astype(np.float32),
            "betas": self.betas.astype(np.float32),
            "trans": motion.translation.astype(np.float32),
            "frames": motion.frames.astype(np.int64),
            "times": motion.times.astype(np.float64),
            "interpolated": ~motion.predicted,
            "joints": motion.joints.astype(np.float32),
            "keypoints_3d": motion.keypoints_3d.astype(np.float32),
            "keypoints_image": motion.keypoints_image.astype(np.float32),
            "boxes": motion.boxes.astype(np.float32),
            "focal_length": motion.focal_length,
            "principal_point": motion.principal_point,
        }
        if motion.lens is not None:
            made["lens_model"] = np.array("fisheye" if motion.lens.fisheye else "brown")
            made["lens_coefficients"] = motion.lens.coefficients
        if motion.sigma is not None:
            made["sigma"] = motion.sigma.astype(np.float32)
        if motion.moved is not None:
            made["moved"] = motion.moved.astype(np.float32)
        if self.world is not None:
            orientations, translations = in_world(self.world, motion)
            made["world_orient"] = orientations.astype(np.float32)
            made["world_trans"] = translations.astype(np.float32)
            made["world_rotation"], made["world_translation"] = self.world.rotation, self.world.translation
        if np.ptp(motion.betas, 0).max() > 0:
            made["frame_betas"] = motion.betas.astype(np.float32)
        return made

    def summary(self) -> dict[str, Any]:
        """When the person is there, and the shape."""
        motion = self.motion
        return {
            "first_frame": int(motion.frames[0]),
            "last_frame": int(motion.frames[-1]),
            "start": round(float(motion.times[0]), 6),
            "end": round(float(motion.times[-1]), 6),
            "predicted_frames": int(motion.predicted.sum()),
            "interpolated_frames": int((~motion.predicted).sum()),
            "betas": [round(float(value), 6) for value in self.betas],
        }


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
    about: Mapping[str, Any]
    """Where the numbers are from: the first fields of the summary."""
    files: list[Path] = field(default_factory=list)
    """Written."""

    def summary(self) -> dict[str, Any]:
        """What the video is, its shots, and who is in it when."""
        camera = self.people[0].motion.camera.describe() if self.people else None
        shots: list[dict[str, Any]] = [{"first_frame": low, "last_frame": high - 1} for low, high in self.shots]
        for shot in shots:
            worlds = [
                one.world for one in self.people if shot["first_frame"] <= one.motion.frames[0] <= shot["last_frame"]
            ]
            shot["world"] = worlds[0]._asdict() if worlds and worlds[0] is not None else None
        people = [person.summary() for person in self.people]
        return plain({"schema": SCHEMA, **self.about, "camera": camera, "shots": shots, "people": people})

    def to_dict(self) -> dict[str, Any]:
        """The summary, and with each person the arrays of its npz file: only dictionaries, lists, numbers and text."""
        made = self.summary() | {"joint_names": list(SMPL_24), "keypoint_names": list(KEYPOINTS_44)}
        made["people"] = [one | person.arrays() for one, person in zip(made["people"], self.people, strict=True)]
        return plain(made)

    def track(self, person: PersonTrack) -> dict[str, Any]:
        """What is known of a person, and of the video: only dictionaries, lists, numbers and text."""
        names = {"joint_names": list(SMPL_24), "keypoint_names": list(KEYPOINTS_44)}
        return plain({"schema": SCHEMA, **self.about, **names, **person.summary(), **person.arrays()})

    def to_pandas(self) -> "pandas.DataFrame":
        """A row per person and frame, with the index (person, frame).

        Columns: `time`, seconds; `interpolated`; the box, `left`, `top`, `right`, `bottom`, px; the pelvis and each
        joint in the camera, `x`, `y`, `z` and `left_knee_x`, ..., metres; the rotation of each joint to its parent as
        axis times angle, `left_knee_rx`, ..., radians.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("A data frame needs pandas: pip install pandas, or use to_dict.") from error
        tables = []
        for person in self.people:
            motion = person.motion
            joints = motion.joints + motion.translation[:, None]
            columns: dict[str, np.ndarray] = {"time": motion.times, "interpolated": ~motion.predicted}
            columns |= dict(zip(("left", "top", "right", "bottom"), motion.boxes.T, strict=True))
            columns |= dict(zip("xyz", joints[:, 0].T, strict=True))
            for kind, values in (("", joints), ("r", motion.rotations)):
                for number, name in enumerate(SMPL_24):
                    columns |= {f"{name}_{kind}{axis}": values[:, number, i] for i, axis in enumerate("xyz")}
            keys = [np.full(len(motion.frames), person.number), motion.frames]
            index = pandas.MultiIndex.from_arrays(keys, names=["person", "frame"])
            tables.append(pandas.DataFrame(columns, index=index))
        return pandas.concat(tables) if tables else pandas.DataFrame()
