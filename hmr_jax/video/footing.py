"""Feet that stand do not slide: when heels and toes are still, they are held where they are.

A camera that does not move is assumed. In one that moves, feet that stand are not still in the image, and little is
changed. Contacts are found from the speed of heels and toes and from their expected error. Then one correction of the
translation, smooth in time, holds all points in contact as well as it can, and what is left is done by the legs: hips
and knees turn, and the feet keep their attitude.

Shapes: F frames, P the four points of the feet, S stances.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24, SMPL_PARENTS
from hmr_jax.video import smoothing
from hmr_jax.video.motion import Motion, posed_again
from hmr_jax.video.posing import Posing

POINTS = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
_LEGS = {
    side: tuple(SMPL_24.index(f"{side}_{part}") for part in ("hip", "knee", "ankle")) for side in ("left", "right")
}
POINT_IDS = [KEYPOINTS_44.index(f"openpose_{name}") for name in POINTS]
STILL = 0.8
"""Metres per second across the line of sight: slower points are in contact. In predictions, points that stand move by
half a metre per second, and those of steps by more than one."""
UNSURE = 0.2
"""Metres: points of a larger expected error are in no contact."""
SHORTEST = 0.1
"""Seconds: shorter contacts are none."""
_SPEED = 0.2  # seconds on each side over which speeds are smoothed
_STIFF = 0.018  # seconds: its square times a correction's acceleration counts as much as sliding by as far
_STAY = 1e-2  # weight of a correction's size, where a contact's is 1
_FADE = 0.15  # seconds in which the correction of a leg ends after a contact


class Stances(NamedTuple):
    """When points of the feet stand."""

    number: np.ndarray
    """(F, P) of the stance, from 0 on over all points; -1 where the point is in none."""
    total: int
    """S."""


def find_stances(motion: Motion) -> Stances:
    """When the heels and toes of a motion are in contact with something that does not move."""
    points = motion.keypoints_3d[:, POINT_IDS] + motion.translation[:, None]
    times = motion.times
    number = np.full((len(times), len(POINT_IDS)), -1)
    if len(times) < 3:
        return Stances(number, 0)
    # Across the line of sight, where the image says it: depth is uncertain.
    pixels = smoothing.smooth_points(motion.keypoints_image[:, POINT_IDS], times, smoothing.half_width(times, _SPEED))
    speed = np.linalg.norm(np.gradient(pixels, times, axis=0) / motion.focal_length, axis=-1) * points[..., 2]
    still = (speed < STILL) & motion.predicted[:, None]
    if motion.sigma is not None:
        still &= motion.sigma[:, POINT_IDS] < UNSURE
    step = float(np.median(np.diff(times)))
    total = 0
    for point in range(len(POINT_IDS)):
        for (frames,) in ndimage.find_objects(ndimage.label(still[:, point])[0]):
            if (frames.stop - frames.start) * step >= SHORTEST:
                number[frames, point] = total
                total += 1
    return Stances(number, total)


def planted(motion: Motion, posing: Posing) -> Motion:
    """The motion with feet that stand where they stand.

    Args:
        motion: without gaps; smoothed, or its speeds are noise.
        posing: of the same body.
    """
    stances = find_stances(motion)
    if not stances.total:
        return motion
    points = (motion.keypoints_3d[:, POINT_IDS] + motion.translation[:, None]).astype(np.float64)
    shift, anchors = _correction(points, stances, motion.times)
    left = np.where(stances.number[..., None] >= 0, anchors[stances.number] - points - shift[:, None], np.nan)
    moved = replace(motion, translation=(motion.translation + shift).astype(np.float32))
    rotations = motion.rotations.astype(np.float64)
    for side, ids in _LEGS.items():
        own = [i for i, name in enumerate(POINTS) if name.startswith(side)]
        rotations = _reach(rotations, motion.joints, ids, _faded(left[:, own], motion.times))
    return replace(
        posed_again(replace(moved, rotations=rotations.astype(np.float32)), posing),
        keypoints_image=motion.keypoints_image,
    )


def _correction(points: np.ndarray, stances: Stances, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shifts (F, 3) of points (F, P, 3) by which those of each stance stay at one place, and the places (S, 3).

    Least squares: of how far points in contact are from their places, of the shifts' accelerations, and, with a small
    weight, of the shifts, so that places are near where they were seen.
    """
    frames, held = len(times), np.argwhere(stances.number >= 0)
    ones, rows = np.ones(len(held)), np.arange(len(held))
    shift = sparse.csr_matrix((ones, (rows, held[:, 0])), (len(held), frames))
    place = sparse.csr_matrix((-ones, (rows, stances.number[tuple(held.T)])), (len(held), stances.total))
    stiff = (_STIFF / float(np.median(np.diff(times)))) ** 2
    bend = stiff * sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(frames - 2, frames))
    stay = _STAY * sparse.eye(frames)
    matrix = sparse.block_array([[shift, place], [bend, None], [stay, None]]).tocsc()
    wanted = np.zeros((matrix.shape[0], 3))
    wanted[: len(held)] = -points[tuple(held.T)]
    solved = spsolve((matrix.T @ matrix).tocsc(), matrix.T @ wanted)
    return solved[:frames], solved[frames:]


def _faded(left: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(F, 3) by how much a foot is to move, from (F, points of the foot, 3): NaN where free, which fades to 0."""
    bound = ~np.isnan(left[..., 0])
    share = bound.sum(1)
    mean = np.where(bound[..., None], left, 0).sum(1) / np.maximum(share, 1)[:, None]
    ids = np.flatnonzero(share)
    if not len(ids):
        return np.zeros((len(times), 3))
    after = np.minimum(np.searchsorted(ids, np.arange(len(times))), len(ids) - 1)
    before = np.maximum(np.searchsorted(ids, np.arange(len(times)), "right") - 1, 0)
    weights = np.stack([np.clip(1 - np.abs(times - times[ids[near]]) / _FADE, 0, 1) for near in (before, after)])
    weights = weights / np.maximum(weights.sum(0), 1)
    return weights[0][:, None] * mean[ids[before]] + weights[1][:, None] * mean[ids[after]]


def _reach(rotations: np.ndarray, joints: np.ndarray, leg: tuple[int, ...], move: np.ndarray) -> np.ndarray:
    """Rotations (F, 24, 3) with which the ankle of a leg moves by (F, 3); the foot keeps its attitude."""
    hip, knee, ankle = leg
    whole: dict[int, Rotation] = {}
    for joint in (SMPL_24.index("pelvis"), hip, knee, ankle):
        own = Rotation.from_rotvec(rotations[:, joint])
        whole[joint] = own if SMPL_PARENTS[joint] < 0 else whole[SMPL_PARENTS[joint]] * own
    thigh, shank = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
    lengths = [np.linalg.norm(bone, axis=-1) for bone in (thigh, shank)]
    now, wanted = thigh + shank, thigh + shank + move
    far = np.clip(np.linalg.norm(wanted, axis=-1), np.abs(lengths[0] - lengths[1]) + 1e-3, sum(lengths) - 1e-3)
    turn = _inner(lengths, far) - _inner(lengths, np.linalg.norm(now, axis=-1))
    axis = np.cross(thigh, shank)
    straight = np.linalg.norm(axis, axis=-1) < 0.02 * lengths[0] * lengths[1]
    axis = np.where(straight[:, None], whole[hip].apply([1.0, 0, 0]), axis)
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    bend = Rotation.from_rotvec(-turn[:, None] * axis)
    swing = _between(thigh + bend.apply(shank), wanted)
    made = rotations.copy()
    new_hip, new_knee = swing * whole[hip], swing * bend * whole[knee]
    made[:, hip] = (whole[0].inv() * new_hip).as_rotvec()
    made[:, knee] = (new_hip.inv() * new_knee).as_rotvec()
    made[:, ankle] = (new_knee.inv() * whole[ankle]).as_rotvec()
    return made


def _inner(lengths: list[np.ndarray], far: np.ndarray) -> np.ndarray:
    """The angle at the knee between two bones whose ends are `far` from each other."""
    cosine = (lengths[0] ** 2 + lengths[1] ** 2 - far**2) / (2 * lengths[0] * lengths[1])
    return np.arccos(np.clip(cosine, -1, 1))


def _between(first: np.ndarray, second: np.ndarray) -> Rotation:
    """The smallest rotations that turn vectors (F, 3) into the directions of others."""
    one, other = (vector / np.linalg.norm(vector, axis=-1, keepdims=True) for vector in (first, second))
    axis, cosine = np.cross(one, other), np.clip((one * other).sum(-1), -1, 1)
    sine = np.linalg.norm(axis, axis=-1)
    return Rotation.from_rotvec(axis * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-12))[:, None])
