"""What is found in a capture, and its files; docs/howto/capture.md describes them.

Shapes: V views, F frames, K the 44 keypoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax import __version__
from hmr_jax.body import BodyModel
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.triangulation import Points
from hmr_jax.io import atomic
from hmr_jax.io.json_files import write_json
from hmr_jax.rendering.animation import Animation, write_animated_glb, write_bvh
from hmr_jax.rendering.export import Axes, plain
from hmr_jax.video.capture.bodies import Bodies
from hmr_jax.video.posing import rig_of

SCHEMA = 1
"""Version of the layout of the files; it increases when readers must change."""
Up = Literal["auto", "x", "-x", "y", "-y", "z", "-z"]
LIMBS = {
    f"{side} {name}": (f"openpose_{side}_{top}", f"openpose_{side}_{end}")
    for name, top, end in (
        ("upper arm", "shoulder", "elbow"), ("forearm", "elbow", "wrist"), ("thigh", "hip", "knee"),
        ("shank", "knee", "ankle"),
    )
    for side in ("left", "right")
}  # fmt: skip
MAIN = tuple(
    KEYPOINTS_44.index(f"openpose_{side}_{part}")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The twelve main joints, by which reprojection errors are summed up: faces and feet are seen less precisely."""


@dataclass(frozen=True)
class Capture:
    """A person in space."""

    cameras: list[Camera]
    """With refined attitudes, if that was asked for."""
    turned: np.ndarray
    """(V,) degrees by which the attitudes were refined."""
    rate: float
    """Frames per second."""
    keypoints: np.ndarray
    """(V, F, K, 3) px and confidence in each view."""
    points: Points
    """The keypoints in space, (F, K)."""
    bodies: Bodies
    """Bodies in the world's axes."""
    up: str
    """The world's axis that points up: "z", "-y", ..."""
    body: BodyModel
    """That was fitted."""
    sources: Mapping[str, str]
    """Paths of the inputs, by camera."""

    @property
    def body_error(self) -> np.ndarray:
        """(V, F, K) px from where a view has a keypoint to where the body has it; NaN where it is not used."""
        error = np.full(self.points.error.shape, np.nan)
        for number, camera in enumerate(self.cameras):
            shown = camera.project(self.bodies.markers[self.bodies.posed])
            away = np.linalg.norm(shown - self.keypoints[number][self.bodies.posed][..., :2], axis=-1)
            error[number][self.bodies.posed] = away
        return np.where(self.points.used, error, np.nan)

    def animation(self, up: str) -> Animation:
        """The motion of the posed frames in axes as of an upright camera: x right, y down, z forward."""
        turn, posed = upright(up), self.bodies.posed
        rotations = self.bodies.rotations[posed].copy()
        rotations[:, 0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(rotations[:, 0])).as_rotvec()
        root = np.asarray(rig_of(self.body, self.bodies.betas).joints)[0]
        translation = (root + self.bodies.translation[posed]) @ turn.T - root
        return Animation(np.flatnonzero(posed) / self.rate, rotations, translation)

    def summary(self) -> dict[str, Any]:
        """What the JSON file has."""
        error, bodies = np.where(self.points.used, self.points.error, np.nan), self.body_error
        main = list(MAIN)
        return {
            "schema": SCHEMA,
            "version": __version__,
            "axes": "world",
            "up": self.up,
            "units": "metres, degrees and pixels",
            "topology": self.body.topology,
            "frames": len(self.bodies.posed),
            "posed_frames": int(self.bodies.posed.sum()),
            "rate": self.rate,
            "betas": self.bodies.betas,
            "reprojection": {
                "keypoints": _spread(error[..., main]), "bodies": _spread(bodies[..., main]),
                "bodies_all_keypoints": _spread(bodies),
            },
            "cameras": [self._camera(number, error, bodies) for number in range(len(self.cameras))],
            "keypoints": {
                name: {
                    "found": float(self.points.found[:, number].mean()), "error": _spread(error[..., number]),
                    "offset_mm": 1000 * float(np.linalg.norm(self.bodies.offsets[number])),
                }
                for number, name in enumerate(KEYPOINTS_44) if self.points.found[:, number].any()
            },
            "limbs_mm": {name: self._limb(*ends) for name, ends in LIMBS.items()},
        }  # fmt: skip

    def _camera(self, number: int, error: np.ndarray, bodies: np.ndarray) -> dict[str, Any]:
        camera, main = self.cameras[number], list(MAIN)
        has = self.keypoints[number, ..., 2] > 0
        used = self.points.used[number]
        return {
            "name": camera.name,
            "source": Path(self.sources.get(camera.name, "")).name,
            "image_size": camera.image_size,
            "intrinsics": camera.intrinsics,
            "lens": None if camera.lens is None else camera.lens.describe(),
            "rotation": camera.rotation,
            "translation": camera.translation,
            "turned_degrees": self.turned[number],
            "used": float(used.sum() / max(has.sum(), 1)),
            "reprojection": {
                "keypoints": _spread(error[number][:, main]), "bodies": _spread(bodies[number][:, main]),
            },
        }  # fmt: skip

    def _limb(self, top: str, end: str) -> dict[str, Any]:
        one, other = KEYPOINTS_44.index(top), KEYPOINTS_44.index(end)
        known = self.points.found[:, one] & self.points.found[:, other]
        seen = np.linalg.norm(self.points.world[known, one] - self.points.world[known, other], axis=-1)
        posed = self.bodies.keypoints[self.bodies.posed]
        held = np.linalg.norm(posed[:, one] - posed[:, other], axis=-1)
        return {name: _mean(1000 * lengths) for name, lengths in (("keypoints", seen), ("bodies", held))}

    def save(self, folder: Path, axes: Axes = "opengl") -> list[Path]:
        """Writes `capture.npz`, `capture.glb`, `capture.bvh` and `capture.json`, and returns them, the summary last.

        Args:
            folder: of the results; created if needed.
            axes: of the animations.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"capture.{kind}" for kind in ("npz", "glb", "bvh", "json")]
        atomic.write_npz(files[0], self.arrays())
        rig, motion = rig_of(self.body, self.bodies.betas), self.animation(self.up)
        write_animated_glb(files[1], rig, motion, axes=axes)
        write_bvh(files[2], rig, motion, axes)
        write_json(files[3], plain(self.summary()))
        return files

    def arrays(self) -> dict[str, np.ndarray]:
        """What the npz file has, by name."""
        bodies, points = self.bodies, self.points
        made: dict[str, Any] = {
            "schema": SCHEMA,
            "poses": bodies.rotations.reshape(len(bodies.posed), -1).astype(np.float32),
            "betas": bodies.betas.astype(np.float32),
            "trans": bodies.translation.astype(np.float32),
            "posed": bodies.posed,
            "mocap_framerate": self.rate,
            "gender": "neutral",
            "topology": self.body.topology,
            "joint_names": np.array(SMPL_24),
            "keypoint_names": np.array(KEYPOINTS_44),
            "body_keypoints": bodies.keypoints.astype(np.float32),
            "body_landmarks": bodies.markers.astype(np.float32),
            "keypoints_world": points.world.astype(np.float32),
            "found": points.found,
            "error": points.error.astype(np.float32),
            "used": points.used,
            "keypoints_image": self.keypoints.astype(np.float32),
            "camera_names": np.array([camera.name for camera in self.cameras]),
            "camera_intrinsics": np.stack([camera.intrinsics for camera in self.cameras]),
            "camera_rotations": np.stack([camera.rotation for camera in self.cameras]),
            "camera_translations": np.stack([camera.translation for camera in self.cameras]),
        }
        return {name: np.asarray(value) for name, value in made.items()}


def find_up(bodies: Bodies) -> str:
    """The world's axis along which people stand: that nearest to the mean line from the hips to the shoulders."""
    numbers = [KEYPOINTS_44.index(f"openpose_{side}_{part}") for part in ("hip", "shoulder") for side in _SIDES]
    hips, shoulders = bodies.keypoints[bodies.posed][:, numbers[:2]], bodies.keypoints[bodies.posed][:, numbers[2:]]
    trunk = (shoulders.mean(1) - hips.mean(1)).mean(0)
    axis = int(np.abs(trunk).argmax())
    return f"{'-' if trunk[axis] < 0 else ''}{'xyz'[axis]}"


def upright(up: str) -> np.ndarray:
    """(3, 3) from the world to axes whose y points down, against the axis `up`; x and z are axes of the world, too."""
    down = np.zeros(3)
    down["xyz".index(up[-1])] = 1.0 if up.startswith("-") else -1.0
    right = np.roll(np.abs(down), 1)
    return np.stack([right, down, np.cross(right, down)])


_SIDES = ("left", "right")


def _spread(values: np.ndarray) -> dict[str, float | None]:
    """Median and 90 % quantile of what is no NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"median": None, "90%": None}
    return {"median": float(np.median(known)), "90%": float(np.quantile(known, 0.9))}


def _mean(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {"mean": None, "deviation": None}
    return {"mean": float(values.mean()), "deviation": float(values.std())}


def report(capture: Capture) -> Sequence[str]:
    """Lines that say how well the views agree."""
    about = capture.summary()
    lines = [
        f"{about['posed_frames']} of {about['frames']} frames have a body; up is {capture.up}; px to the twelve main "
        "joints, median and 90 %:"
    ]
    parts = {"all": about["reprojection"]} | {one["name"]: one["reprojection"] for one in about["cameras"]}
    for name, part in parts.items():
        told = [f"{what} {_told(part[what])}" for what in ("keypoints", "bodies")]
        lines.append(f"  {name}: " + ", ".join(told))
    return lines


def _told(spread: Mapping[str, float | None]) -> str:
    return " and ".join("none" if value is None else f"{value:.1f}" for value in spread.values())
