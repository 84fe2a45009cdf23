"""Predicted bodies moved onto keypoints of their image: those of the network's encoder, or a user's.

The network's prediction is the start and the prior: rotations and betas may differ from it by a little, and its own
keypoints in the image count as well, with less accuracy. Keypoints that are far off are taken for mistakes.

Shapes: B people, K = 44 keypoints.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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
from hmr_jax.geometry.upright import rotation_z
from hmr_jax.inference.landmarks import LANDMARK_OF
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.placing import OUTSIDE

LANDMARKS = 0.02
"""Sides of the box: one standard deviation of landmarks, in one image."""
_ROBUST = 4.0  # standard deviations from which on a keypoint is taken for a mistake
_ROBUST_SIDES = 0.08  # but only from this distance from the network's on, in sides of the box
_VISIBLE = 0.3  # less probable landmarks do not count
_STEPS = 5
_NOT_ROBUST = 1e3


class Spread(NamedTuple):
    """One standard deviation of what the network says."""

    own_keypoints: float
    """Of its keypoints in the image, sides of the box."""
    rotations: float
    """Radians."""
    betas: float


# Chosen on the real capture and the annotated people of docs/benchmarks/real_people.md, roughly: half and twice of each
# give nearly the same.
ONE_IMAGE = Spread(0.05, 0.2, 0.3)


class Evidence(NamedTuple):
    """What is known of people beside what a network predicts: keypoints in their images, px without a lens."""

    keypoints: np.ndarray
    """(B, K, 2) that were seen."""
    sigma: np.ndarray
    """(B, K) px, one standard deviation of these; infinite where a keypoint is not known."""
    own: np.ndarray
    """(B, K, 2) where the network has them."""
    inside: np.ndarray
    """(B, K) whether they are in the crop; outside, the network guesses."""
    side: np.ndarray
    """(B,) px, of the box."""
    focal_length: np.ndarray
    """(B, 2) px."""
    principal_point: np.ndarray
    """(B, 2) px."""

    def terms(self, predicted: Pose, spread: Spread) -> list[Any]:
        """Terms of fits: the keypoints that were seen come first, then the network's, its rotations and its betas."""
        camera = self.focal_length, self.principal_point
        robust = np.maximum(_ROBUST, _ROBUST_SIDES * self.side / self.sigma.min(1))
        weights = np.where(self.inside, 1.0, OUTSIDE)
        own_sigma = spread.own_keypoints * self.side[:, None] / np.sqrt(weights)
        each = [
            np.full(array.shape[:width], sigma, np.float32)
            for array, width, sigma in ((predicted.rotations, 2, spread.rotations), (predicted.betas, 2, spread.betas))
        ]
        return [
            in_image(self.keypoints, self.sigma, *camera, robust),
            in_image(self.own, own_sigma, *camera, _NOT_ROBUST),
            NearRotations(predicted.rotations, each[0]),
            Shape(predicted.betas, each[1]),
        ]


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
        evidence = _evidence(people, keypoints, sigma)
        terms = evidence.terms(start, ONE_IMAGE)
        errors = [person.sigma for person in people if person.sigma is not None]
        if len(errors) == len(people):
            terms.append(around_pelvis(np.stack([person.keypoints_3d for person in people]), np.stack(errors)))
        fit = self._fitter(terms, start, _STEPS, with_sigma=False)
        before = np.stack([person.keypoints_3d + person.translation for person in people])
        better = keypoint_error(terms[0], fit.keypoints) < keypoint_error(terms[0], before)
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
        pixels = person.image_camera.project(fit.keypoints[i])
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


def is_seen(person: PersonPrediction) -> bool:
    """Whether there are keypoints in the image to refine a person by."""
    return person.landmarks is not None or person.keypoints_given is not None


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


def keypoint_error(seen: Keypoints2D, keypoints: np.ndarray) -> np.ndarray:
    """(B,) robust squared distances of keypoints (B, K, 3) in the camera from those seen, in standard deviations."""
    rays = keypoints[..., :2] / keypoints[..., 2:]
    squared = (seen.weights[:, 0] ** 2) * ((rays - seen.rays[:, 0]) ** 2).sum(-1)
    return (squared * robust_share(squared, seen.robust[:, None])).sum(1)


def _evidence(people: Sequence[PersonPrediction], keypoints: np.ndarray, sigma: np.ndarray) -> Evidence:
    """Of keypoints (B, K, 2) px of the images, with sigma (B, K) px."""
    return Evidence(
        keypoints=_straight(people, keypoints),
        sigma=sigma,
        own=_straight(people, np.stack([one.keypoints_image for one in people])),
        inside=np.stack(
            [np.abs((one.keypoints_image - one.box_center) / one.box_size).max(-1) < 0.5 for one in people]
        ),
        side=np.array([one.box_size for one in people]),
        focal_length=np.stack([one.focal_length for one in people]),
        principal_point=np.stack([one.principal_point for one in people]),
    )


def _straight(people: Sequence[PersonPrediction], points: np.ndarray) -> np.ndarray:
    """Points (B, K, 2) px as a camera without a lens would have them; NaN where the lens shows nothing."""
    each = zip(people, np.asarray(points, np.float64), strict=True)
    return np.stack([person.image_camera.straightened(own) for person, own in each])


def around_pelvis(points: np.ndarray, sigma: np.ndarray) -> KeypointsAround:
    """The network's keypoints (B, K, 3), metres, with the errors that it predicts of them, (B, K) metres."""
    weights = np.sqrt(3) / np.maximum(sigma, 1e-3)  # sigma is over x, y and z together
    root = np.full(len(points), PELVIS_44, np.int32)
    return KeypointsAround(points - points[:, PELVIS_44, None], weights.astype(np.float32), root)
