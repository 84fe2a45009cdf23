"""From the camera to a world with the y axis up, by the people who stand upright in it, or by a given direction.

The camera does not move during a shot. People who stand are upright on the mean: up is the direction from their ankles
to their necks, in frames in which legs and trunk are in line. Those who are larger in the image count more. The floor
is where feet stand.

World axes: x is the camera's right, made level; y up; z towards the viewer, level. The origin is on the floor, below
the first pelvis of the shot. With a level camera these are the axes "opengl".

Shapes: F frames of a person, N directions.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.body.posture import is_upright
from hmr_jax.video.footing import POINTS
from hmr_jax.video.motion import Motion

FEWEST = 0.05
"""Share of frames with upright people below which all frames are taken."""
_FEET = [KEYPOINTS_44.index(f"openpose_{name}") for name in POINTS]
_STANDING = 0.5  # quantile of the lowest points of feet that is the floor


class World(NamedTuple):
    """Axes of a shot: x_world = rotation x_camera + translation."""

    rotation: np.ndarray
    """(3, 3) from the camera's axes."""
    translation: np.ndarray
    """(3,) metres."""
    source: Literal["people", "given"]
    """Where up is from."""
    spread: float
    """Degrees: median angle of the people to what is taken for up."""


def world_of(motions: Sequence[Motion], up: np.ndarray | None = None) -> World:
    """The world of the people of a shot.

    Args:
        motions: of the people, one or more.
        up: (3,) in the camera's axes, of any length. None: that of the people.
    """
    directions, weights = map(np.concatenate, zip(*map(_directions, motions), strict=True))
    known = _middle(directions, weights) if up is None else np.asarray(up, np.float64) / np.linalg.norm(up)
    spread = float(np.degrees(np.median(np.arccos(np.clip(directions @ known, -1, 1)))))
    right = np.array([1.0, 0, 0]) if abs(known[0]) < 0.9 else np.array([0.0, 0, 1])
    right = right - (right @ known) * known
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, known, np.cross(right, known)])
    lowest = [
        (rotation[1] @ (m.keypoints_3d[:, _FEET] + m.translation[:, None]).swapaxes(1, 2)).min(1) for m in motions
    ]
    first = min(motions, key=lambda motion: motion.frames[0])
    pelvis = rotation @ (first.joints[0, 0] + first.translation[0])
    floor = float(np.quantile(np.concatenate(lowest), _STANDING))
    origin = np.array([pelvis[0], floor, pelvis[2]])
    return World(rotation, -origin, "people" if up is None else "given", spread)


def in_world(world: World, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Global orientations (F, 3), axis times angle, and translations (F, 3), metres, of a motion, in a world's axes.

    A body model with them gives the vertices that the camera's give, moved by the world's rotation and translation.
    """
    turned = Rotation.from_matrix(world.rotation) * Rotation.from_rotvec(motion.rotations[:, 0])
    root = motion.joints[:, 0].astype(np.float64)  # models turn bodies about their root joint
    placed = (root + motion.translation) @ world.rotation.T + world.translation
    return turned.as_rotvec(), placed - root


def _directions(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors from ankles to neck of a person who is upright (N, 3), or of all frames where there are few, and
    their weights (N,): the squares of the person's heights in the image."""
    joints = dict(zip(SMPL_24, motion.joints.swapaxes(0, 1).astype(np.float64), strict=True))
    upright = is_upright(motion.joints) & motion.predicted
    if upright.mean() < FEWEST:
        upright = motion.predicted
    whole = (joints["neck"] - joints["left_ankle"] / 2 - joints["right_ankle"] / 2)[upright]
    heights = (motion.boxes[:, 3] - motion.boxes[:, 1])[upright]
    return whole / np.linalg.norm(whole, axis=-1, keepdims=True), np.asarray(heights, np.float64) ** 2


def _middle(directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The unit vector in the middle of others (N, 3): their geometric median, which few wrong ones do not move."""
    middle = np.average(directions, axis=0, weights=weights)
    for _ in range(50):
        near = weights / np.maximum(np.linalg.norm(directions - middle, axis=-1), 1e-3)
        middle = np.average(directions, axis=0, weights=near)
    return middle / np.linalg.norm(middle)
