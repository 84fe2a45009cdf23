"""The built-in detector: BlazePose's two networks, of people and of their landmarks.

    detector = Detector()
    detector(image).boxes

Shapes: H, W the image, n people.
"""

from typing import Any

import jax
import numpy as np
from PIL import Image

from hmr_jax.checkpoints.exported import load_shipped_detector, load_shipped_encoder
from hmr_jax.detection.bodies import Body, find_body
from hmr_jax.detection.candidates import LONGEST, Candidates, distinct, find_candidates, joined
from hmr_jax.detection.detections import Detections, check_image, overlaps
from hmr_jax.models.backbones.blazepose import BlazePose
from hmr_jax.models.backbones.blazepose_detector import BlazePoseDetector
from hmr_jax.models.parameters import Params

LEVELS = (224, 448, 672)
"""Longer sides at which an image is seen, px. On the finest, a person of 15 % of a photograph's height has 72 px."""
CANDIDATES = 0.3
"""Candidates of a lower probability are not looked at."""
THRESHOLD = 0.3
"""People of a lower score are not reported."""
MOST = 48
"""Candidates that are looked at, the surest."""
PATIENCE = 8
"""So many candidates in turn that are no people end the search."""
CROWD, SMALL = 3, 0.3
"""Where there are so many people lower than this share of the image, there may be more: it is seen at twice the finest
level, too."""
ENOUGH = 100
"""Px: who is at least so high on a level is mostly found there."""
_DETAIL = 3  # times the finest level, px: larger images are shrunk by a whole factor first
_NOSE = 0  # of the landmarks
_LARGE_OVERLAP, _INSIDE, _NEAR = (
    0.6,
    0.9,
    0.12,
)  # of the same person: IoU; share of the smaller box; landmarks' distance


class Detector:
    """Finds people with the networks that the package ships."""

    def __init__(
        self,
        variant: str = "full",
        levels: tuple[int, ...] = LEVELS,
        threshold: float = THRESHOLD,
        detector_params: Params | None = None,
        landmark_params: Params | None = None,
    ):
        """Loads the networks.

        Args:
            variant: of the network of landmarks: "full" or "heavy".
            levels: longer sides at which an image is seen, px, multiples of 224. Larger ones find smaller people; the
                time grows as the sum of their squares.
            threshold: on the score.
            detector_params: {"encoder": ...} of `BlazePoseDetector`; None: those of the package.
            landmark_params: {"encoder": ...} of `BlazePose`; None: those of the package.

        Raises:
            ValueError: a level is no multiple of 224, or the package does not ship the variant.
        """
        if not levels or any(level <= 0 or level % 224 for level in levels):
            raise ValueError(f"Levels {levels} of the detector: give multiples of 224.")
        self.levels, self.threshold = levels, threshold
        first = load_shipped_detector() if detector_params is None else detector_params
        second = load_shipped_encoder(f"blazepose_{variant}") if landmark_params is None else landmark_params
        people, body = BlazePoseDetector(), BlazePose(variant)
        self._people_params, self._body_params = jax.device_put((first["encoder"], second["encoder"]))
        self._people = jax.jit(lambda params, pixels: people.apply({"params": params}, pixels))

        def find(params: Params, crops: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
            output: Any = body.apply({"params": params}, crops)
            return output.landmarks, output.presence, output.mask

        self._body = jax.jit(find)

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds the people of an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The people, the surest first; empty arrays where there are none.

        Raises:
            ValueError: the image has another shape or type.
        """
        check_image(image)
        return self._find(image, self.levels, may_be_crowded=True)

    def again(self, image: np.ndarray, known: Detections) -> Detections:
        """Finds the people of an image that is like another one, such as a frame of a video soon after another frame.

        It is seen at no finer level than the people of the other image need, so smaller ones may be missed, unless
        fewer people are found there than are known.

        Args:
            image: (H, W, 3) uint8 RGB.
            known: people of the other image.

        Raises:
            ValueError: the image has another shape or type.
        """
        check_image(image)
        heights = np.asarray(known.boxes).reshape(-1, 4) @ np.array([0, -1, 0, 1])
        smallest = heights.min(initial=np.inf) / max(image.shape[:2])
        enough = [number for number, level in enumerate(self.levels) if level * smallest >= ENOUGH]
        if enough and enough[0] + 1 < len(self.levels):
            found = self._find(image, self.levels[: enough[0] + 1], may_be_crowded=False)
            if len(found.boxes) >= len(heights):
                return found
        return self(image)

    def _find(self, image: np.ndarray, levels: tuple[int, ...], may_be_crowded: bool) -> Detections:
        seen = min(max(image.shape[:2]), LONGEST * min(image.shape[:2]))  # long images are seen in windows
        factor = max(int(seen / (_DETAIL * max(self.levels))), 1)
        picture = Image.fromarray(image).reduce(factor)
        with jax.numpy_rank_promotion("allow"):  # a user's check, which Flax itself would not pass
            bodies = self._find_bodies(picture, levels, may_be_crowded)
        boxes = factor * np.array([body.box for body in bodies], np.float32).reshape(-1, 4)
        return Detections(
            np.minimum(boxes, np.tile(image.shape[1::-1], 2).astype(np.float32)),  # `reduce` rounds sides up
            np.array([body.score for body in bodies], np.float32),
            factor * np.array([body.landmarks for body in bodies], np.float32).reshape(-1, 33, 2),
        )

    def _find_bodies(self, picture: Image.Image, levels: tuple[int, ...], may_be_crowded: bool) -> list[Body]:
        bodies = self._look_at(picture, find_candidates(self._find_people, picture, levels, CANDIDATES))
        if may_be_crowded and sum(body.box[3] - body.box[1] < SMALL * picture.height for body in bodies) >= CROWD:
            finer = find_candidates(self._find_people, picture, (2 * max(self.levels),), CANDIDATES)
            bodies = distinct_bodies(bodies + self._look_at(picture, _without(finer, bodies)))
        return bodies

    def _look_at(self, picture: Image.Image, candidates: Candidates) -> list[Body]:
        """The people among the candidates, the surest first."""
        bodies: list[Body] = []
        failures = 0
        for hips, top, _, probability in zip(*candidates.take(slice(MOST)), strict=True):
            body = find_body(self._find_body, picture, hips, top, float(probability))
            if body is not None and body.score > self.threshold and (body.box[2:] - body.box[:2]).min() >= 1:
                bodies.append(body)
                failures = 0
            elif (failures := failures + 1) == PATIENCE:
                break
        return distinct_bodies(bodies)

    def _find_people(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return jax.device_get(self._people(self._people_params, pixels))

    def _find_body(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return jax.device_get(self._body(self._body_params, crops))


def _without(candidates: Candidates, bodies: list[Body]) -> Candidates:
    """Candidates that are none of the bodies."""
    circles = np.array([body.circle for body in bodies])
    known = Candidates(
        circles[:, 0], circles[:, 1], np.array([body.landmarks[_NOSE] for body in bodies]), np.full(len(bodies), np.inf)
    )
    return distinct(joined([known, candidates])).take(slice(len(distinct(known).scores), None))


def distinct_bodies(bodies: list[Body]) -> list[Body]:
    """Bodies by falling score, without those that are a better one's: of its box, inside it, or of its landmarks."""
    kept: list[Body] = []
    for body in sorted(bodies, key=lambda body: -body.score):
        if kept:
            boxes = np.array([one.box for one in kept])
            union, smaller = overlaps(body.box, boxes)
            distances = np.array([np.hypot(*(one.landmarks - body.landmarks).T).mean() for one in kept])
            near = distances < _NEAR * (boxes[:, 2:] - boxes[:, :2]).max(1)
            if (near | (union > _LARGE_OVERLAP) | (smaller > _INSIDE)).any():
                continue
        kept.append(body)
    return kept
