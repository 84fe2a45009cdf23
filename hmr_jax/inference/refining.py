"""Predicted bodies moved onto keypoints of their image: those of the network's encoder, or a user's.

The network's prediction is the start and the prior: rotations and betas may differ from it by a little, and its own
keypoints in the image count as well, with less accuracy. Keypoints that are far off are taken for mistakes.

Shapes: B people, K = 44 keypoints.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from hmr_jax.body import BodyModel, skin
from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.fitting import (
    KeypointFit,
    KeypointFitter,
    Keypoints2D,
    KeypointsAround,
    NearRotations,
    Pose,
    Shape,
    in_image,
)
from hmr_jax.body.fitting.solver import robust_share
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.geometry.cameras import NOMINAL_CROP, fit_translation
from hmr_jax.geometry.distortion import distort, invert
from hmr_jax.geometry.upright import rotation_z
from hmr_jax.inference.landmarks import LANDMARK_OF
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.placing import OUTSIDE

# One standard deviation of each; of keypoints in sides of the box. Chosen on the real capture and the annotated people
# of docs/benchmarks/real_people.md, roughly: half and twice of each give nearly the same.
LANDMARKS = 0.02
OWN_KEYPOINTS = 0.05
ROTATIONS = 0.2  # radians
BETAS = 0.3
_ROBUST = 4.0  # standard deviations from which on a keypoint is taken for a mistake
_ROBUST_SIDES = 0.08  # but only from this distance from the network's on, in sides of the box
_VISIBLE = 0.3  # less probable landmarks do not count
_STEPS = 5
_NOT_ROBUST = 1e3


class Refiner:
    """Refines people of one body model."""

    def __init__(self, body: BodyModel, crop_focal_length: float, batch: int = 1):
        """Prepares the solver.

        Args:
            body: of the predictions.
            crop_focal_length: of the network's camera, px of a crop of `NOMINAL_CROP`.
            batch: people that are refined together.
        """
        self._body, self._focal = body, crop_focal_length / NOMINAL_CROP
        self._fitter = KeypointFitter(body, prior=(), batches=(batch,))
        self._batch = batch
        self._skin = jax.jit(skin)

    def __call__(
        self, people: Sequence[PersonPrediction], keypoints: np.ndarray, sigma: np.ndarray
    ) -> list[PersonPrediction]:
        """The people nearer to keypoints in their images.

        A person whom the fit would not bring nearer stays as it is, with `moved` 0.

        Args:
            people: of one or more images.
            keypoints: (B, K, 2) px of the image.
            sigma: (B, K) px, one standard deviation; infinite where a keypoint is not known.
        """
        if not people:
            return []
        start = self._start(people)
        focal = np.stack([person.focal_length for person in people])
        center = np.stack([person.principal_point for person in people])
        side = np.array([person.box_size for person in people])[:, None]
        robust = np.maximum(_ROBUST, _ROBUST_SIDES * side[:, 0] / sigma.min(1))
        seen = in_image(_straight(people, keypoints), sigma, focal, center, robust)
        own = _straight(people, np.stack([person.keypoints_image for person in people]))
        mine = in_image(own, OWN_KEYPOINTS * side / np.sqrt(_weights(people)), focal, center, _NOT_ROBUST)
        near = NearRotations(start.rotations, np.full(start.rotations.shape[:2], ROTATIONS, np.float32))
        terms = [seen, mine, near, Shape(start.betas, np.full_like(start.betas, BETAS)), *_by_sigma(people)]
        fit = self._fitter(terms, start, _STEPS, with_sigma=False)
        before = np.stack([person.keypoints_3d + person.translation for person in people])
        better = _error(seen, fit.keypoints) < _error(seen, before)
        vertices, joints = self._posed(fit)
        return [
            self._moved(person, fit, i, vertices[i], joints[i]) if better[i] else replace(person, moved=0.0)
            for i, person in enumerate(people)
        ]

    def to_what_is_seen(self, people: Sequence[PersonPrediction]) -> list[PersonPrediction]:
        """The same with `keypoints_of` the people."""
        return self(people, *keypoints_of(people))

    def _start(self, people: Sequence[PersonPrediction]) -> Pose:
        rotations = np.stack([np.concatenate([one.global_orient, one.body_pose]) for one in people])
        betas = np.stack([one.betas for one in people])
        betas = np.pad(betas, ((0, 0), (0, self._body.num_betas - betas.shape[1])))
        return Pose(betas, rotations, np.stack([one.translation for one in people]))

    def _posed(self, fit: KeypointFit) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and joints without translation."""
        found = []
        for rows, new in equal_blocks(len(fit.betas), self._batch):
            output = self._skin(self._body, fit.betas[rows], fit.rotations[rows])
            found.append([np.asarray(array)[:new] for array in output])
        vertices, joints = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return vertices, joints

    def _moved(
        self, person: PersonPrediction, fit: KeypointFit, i: int, vertices: np.ndarray, joints: np.ndarray
    ) -> PersonPrediction:
        translation, rotations = fit.translation[i], fit.rotations[i]
        ideal = fit.keypoints[i, :, :2] / fit.keypoints[i, :, 2:]
        shown = ideal if person.lens is None else distort(ideal, *person.lens)
        pixels = shown * person.focal_length + person.principal_point
        in_crop = (pixels - person.box_center) / person.box_size
        turn = rotation_z(np.array([person.box_turn]))[0, :2, :2]
        points = fit.keypoints[i] - translation
        placed = fit_translation(points[None], in_crop[None], np.full(2, self._focal), np.zeros(2))[0]
        before, after = person.vertices - person.joints[0], vertices - joints[0]
        return replace(
            person,
            global_orient=rotations[:1],
            body_pose=rotations[1:],
            betas=fit.betas[i, : len(person.betas)],
            translation=translation,
            vertices=vertices,
            joints=joints,
            keypoints_3d=points,
            keypoints_image=pixels.astype(np.float32),
            keypoints_2d=(in_crop @ turn).astype(np.float32),
            camera=np.array([2 * self._focal / placed[2], *placed[:2]], np.float32),
            moved=float(np.linalg.norm(after - before, axis=-1).mean()),
        )


def keypoints_of(people: Sequence[PersonPrediction]) -> tuple[np.ndarray, np.ndarray]:
    """The keypoints that a user gave, or else those that the encoder found: (B, K, 2) px, and sigma (B, K) px."""
    count = len(people)
    keypoints, sigma = np.zeros((count, 44, 2)), np.full((count, 44), np.inf)
    for i, person in enumerate(people):
        if person.keypoints_given is not None:
            numbers, found = list(range(44)), person.keypoints_given
            seen = found[:, 2] > 0
        elif person.landmarks is not None:
            numbers, found = list(LANDMARK_OF), person.landmarks[list(LANDMARK_OF.values())]
            seen = found[:, 2] > _VISIBLE
        else:
            continue
        spread = LANDMARKS * person.box_size / np.maximum(found[:, 2], _VISIBLE)
        keypoints[i, numbers], sigma[i, numbers] = found[:, :2], np.where(seen, spread, np.inf)
    return keypoints, sigma


def _weights(people: Sequence[PersonPrediction]) -> np.ndarray:
    """(B, K) of the network's own keypoints, which it guesses outside of the crop."""
    inside = [np.abs((one.keypoints_image - one.box_center) / one.box_size).max(-1) < 0.5 for one in people]
    return np.where(inside, 1.0, OUTSIDE)


def _error(seen: Keypoints2D, keypoints: np.ndarray) -> np.ndarray:
    """(B,) robust squared distances of keypoints (B, K, 3) in the camera from those seen, in standard deviations."""
    rays = keypoints[..., :2] / keypoints[..., 2:]
    squared = (seen.weights[:, 0] ** 2) * ((rays - seen.rays[:, 0]) ** 2).sum(-1)
    return (squared * robust_share(squared, seen.robust[:, None])).sum(1)


def _straight(people: Sequence[PersonPrediction], points: np.ndarray) -> np.ndarray:
    """Points (B, K, 2) px as a camera without a lens would have them; NaN where the lens shows nothing."""
    points = np.array(points, np.float64)
    for i, person in enumerate(people):
        if person.lens is not None:
            shown = (points[i] - person.principal_point) / person.focal_length
            ideal, inside = invert(shown, *person.lens)
            points[i] = np.where(inside[:, None], ideal * person.focal_length + person.principal_point, np.nan)
    return points


def _by_sigma(people: Sequence[PersonPrediction]) -> list[KeypointsAround]:
    """The network's keypoints with the errors that it predicts, if it does."""
    sigma = [person.sigma for person in people if person.sigma is not None]
    if len(sigma) < len(people):
        return []
    points = np.stack([person.keypoints_3d for person in people])
    weights = np.sqrt(3) / np.maximum(np.stack(sigma), 1e-3)  # sigma is over x, y and z together
    root = np.full(len(people), PELVIS_44, np.int32)
    return [KeypointsAround(points - points[:, PELVIS_44, None], weights.astype(np.float32), root)]
