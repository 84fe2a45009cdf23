"""One body for each moment, fitted to what all cameras see: one shape, and landmarks that lie where they lie.

A landmark of a network is not where the body model has the joint of its name, but as far from it in every frame. So it
is taken for a marker on a bone, whose offset is estimated from all frames, as the markers of MoSh (Loper et al. 2014).

Shapes: V views, F frames, K the 44 keypoints, J joints.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body import BodyModel
from hmr_jax.body.fitting import KeypointFit, KeypointFitter, Keypoints2D, Pose, Shape, in_space
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.body.kinematics import world_rotations
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.triangulation import Points

FEWEST = 6
"""Keypoints that must be known in space, or the frame has no body."""
ROBUST = 3.0
"""Standard deviations from which on a view of a keypoint counts less and less."""
OFFSET = 0.04
"""Metres: one standard deviation of a marker's offset."""
_SHAPES = 3  # rounds of shapes
_ROUNDS = 2  # of offsets and bodies in turn
_LEAST_SIGMA = 0.5  # px
_RAYLEIGH = 1.1774  # median distance in the plane to the standard deviation of a coordinate
_KNOWN = 1e-3  # standard deviation of betas that are given
# The bone on which a landmark is, by the first of these parts that its name has: the joint that turns the bone.
_BONES = {
    "shoulder": "{}collar", "elbow": "{}shoulder", "wrist": "{}elbow", "hip": "pelvis", "knee": "{}hip",
    "ankle": "{}knee", "toe": "{}ankle", "heel": "{}ankle", "neck": "spine3", "thorax": "spine3", "spine": "spine2",
    "pelvis": "pelvis",
}  # fmt: skip


class Bodies(NamedTuple):
    """Bodies in the world's axes."""

    posed: np.ndarray
    """(F,) whether the frame has a body; elsewhere the pose is at rest and the translation 0."""
    betas: np.ndarray
    """(S,) one shape."""
    rotations: np.ndarray
    """(F, J, 3) axis times angle, relative to the parent joint."""
    translation: np.ndarray
    """(F, 3) metres, SMPL's."""
    keypoints: np.ndarray
    """(F, K, 3) metres, of the body."""
    markers: np.ndarray
    """(F, K, 3) metres: the same with their offsets, where the landmarks should be seen."""
    offsets: np.ndarray
    """(K, 3) metres, in the axes of the bone."""


def bone_of(keypoint: str) -> int:
    """Number of the joint that turns the bone on which a keypoint is."""
    side = next((f"{side}_" for side in ("left", "right") if side in keypoint), "")
    for part, bone in _BONES.items():
        if part in keypoint:
            return SMPL_24.index(bone.format(side))
    return SMPL_24.index("head")


def fit_bodies(
    body: BodyModel,
    cameras: Sequence[Camera],
    keypoints: np.ndarray,
    points: Points,
    fitter: KeypointFitter | None = None,
) -> Bodies:
    """Fits the bodies.

    Args:
        body: with SMPL's joints and the 44 keypoints.
        cameras: V of them.
        keypoints: (V, F, K, 3) px and confidence, 0 where a camera has none.
        points: the same keypoints triangulated, (F, K).
        fitter: of the body, if there is one already.

    Raises:
        ValueError: no frame has `FEWEST` keypoints that are known.
    """
    posed = points.found.sum(1) >= FEWEST
    if not posed.any():
        raise ValueError(f"No moment has {FEWEST} keypoints that two cameras see: is the calibration of these videos?")
    fitter = fitter or KeypointFitter(body)
    world, found, used = points.world[posed], points.found[posed], points.used[:, posed]
    sigma = _sigmas(points.error[:, posed], used)
    focal = np.mean([camera.focal_length for camera in cameras])
    depth = np.median([np.abs(camera.to_camera(world)[..., 2][found]) for camera in cameras])
    in_metres = sigma * float(depth) / float(focal)
    seen = _Seen(cameras, keypoints[:, posed], sigma)
    bones = np.array([bone_of(name) for name in KEYPOINTS_44])

    known = np.where(found, in_metres, np.inf)
    fit = fitter([in_space(np.where(found[..., None], world, np.nan), known)], with_sigma=False)
    nowhere = np.zeros_like(world)
    mean = np.zeros(body.num_betas)
    for _ in range(_SHAPES):  # a prior for each frame would count it many times, so it moves along
        terms: list[Any] = [seen.term(fit.keypoints, nowhere), _shape(mean, len(world), 1.0)]
        fit = fitter(terms, Pose(fit.betas, fit.rotations, fit.translation), with_sigma=False)
        mean = np.asarray(fit.betas).mean(0)
    weights, offsets = used.sum(0) * found, np.zeros((len(KEYPOINTS_44), 3))
    betas = np.broadcast_to(mean, fit.betas.shape).astype(np.float32)
    for _ in range(_ROUNDS):
        turned = _turns(body, fit, bones)
        offsets = _offsets(turned, world - fit.keypoints, weights, in_metres)
        terms = [seen.term(fit.keypoints, np.einsum("fkij,kj->fki", turned, offsets)), _shape(mean, len(world), _KNOWN)]
        fit = fitter(terms, Pose(betas, fit.rotations, fit.translation), with_sigma=False)
    turned = _turns(body, fit, bones)
    return _spread(fit, fit.keypoints + np.einsum("fkij,kj->fki", turned, offsets), offsets, posed)


def _shape(mean: np.ndarray, count: int, sigma: float) -> Shape:
    """The term of the betas of some bodies: mean (S,), and one standard deviation."""
    every = np.broadcast_to(mean, (count, len(mean))).astype(np.float32)
    return Shape(every, np.full_like(every, sigma))


def _sigmas(error: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(K,) px: standard deviations of keypoints in an image, by errors (V, F, K) of those that are used."""
    usual = np.median(error[used])
    each = [np.median(error[..., k][used[..., k]]) if used[..., k].any() else usual for k in range(error.shape[-1])]
    return np.maximum(np.array(each) / _RAYLEIGH, _LEAST_SIGMA)


class _Seen:
    """What the cameras see, as a term of the fit."""

    def __init__(self, cameras: Sequence[Camera], keypoints: np.ndarray, sigma: np.ndarray):
        looked = [camera.rays(own[..., :2]) for camera, own in zip(cameras, keypoints, strict=True)]
        confidence = np.where(np.isfinite(keypoints[..., 2]), np.clip(keypoints[..., 2], 0, 1), 0)
        focal = np.array([camera.focal_length for camera in cameras])[:, None, None]
        self.rays = np.stack([rays for rays, _ in looked], 1)  # (F, V, K, 2)
        self.weights = np.stack([inside for _, inside in looked], 1) * np.swapaxes(confidence * focal / sigma, 0, 1)
        self.rotation = np.stack([camera.rotation for camera in cameras])
        self.translation = np.stack([camera.translation for camera in cameras])

    def term(self, points: np.ndarray, shift: np.ndarray) -> Keypoints2D:
        """The term for points (F, K, 3) of bodies, whose landmarks are shifted (F, K, 3) from them, metres."""
        moved = self._project(points + shift) - self._project(points)
        count = len(points)
        arrays = (
            self.rays - moved, self.weights, np.broadcast_to(self.rotation, (count, *self.rotation.shape)),
            np.broadcast_to(self.translation, (count, *self.translation.shape)), np.full(count, ROBUST),
        )  # fmt: skip
        return Keypoints2D(*(np.asarray(array, np.float32) for array in arrays))

    def _project(self, points: np.ndarray) -> np.ndarray:
        in_camera = np.einsum("vij,fkj->fvki", self.rotation, points) + self.translation[:, None]
        return in_camera[..., :2] / np.maximum(in_camera[..., 2:], 1e-3)


def _turns(body: BodyModel, fit: KeypointFit, bones: np.ndarray) -> np.ndarray:
    """(F, K, 3, 3) rotations of the bones of the keypoints, to world axes."""
    return np.asarray(world_rotations(body.parents, jnp.asarray(fit.rotations)), np.float64)[:, bones]


def _offsets(turned: np.ndarray, away: np.ndarray, weights: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """(K, 3) where landmarks are that are away (F, K, 3) from their keypoints, in the axes of their bones."""
    local = np.einsum("fkji,fkj->fki", turned, away)
    total = weights.sum(0) + (sigma / OFFSET) ** 2
    return (weights[..., None] * local).sum(0) / total[:, None]


def _spread(fit: KeypointFit, markers: np.ndarray, offsets: np.ndarray, posed: np.ndarray) -> Bodies:
    """Puts the bodies of the posed frames to their places."""
    frames, joints = len(posed), fit.rotations.shape[1]
    rotations, translation = np.zeros((frames, joints, 3)), np.zeros((frames, 3))
    keypoints, every = (np.zeros((frames, *markers.shape[1:])) for _ in range(2))
    flat = Rotation.from_matrix(np.asarray(fit.rotations, np.float64).reshape(-1, 3, 3)).as_rotvec()
    rotations[posed] = flat.reshape(-1, joints, 3)
    translation[posed], keypoints[posed], every[posed] = fit.translation, fit.keypoints, markers
    return Bodies(posed, np.asarray(fit.betas).mean(0), rotations, translation, keypoints, every, offsets)
