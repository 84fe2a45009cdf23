"""What a detector finds, and which of it is the same person.

Shapes: n people, L landmarks.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from hmr_jax.geometry.boxes import usable_boxes
from hmr_jax.geometry.upright import tilt
from hmr_jax.models.backbones.blazepose import HIPS, SHOULDERS


class Detections(NamedTuple):
    """People of one image, the surest first."""

    boxes: np.ndarray
    """(n, 4) left, top, right, bottom of the visible body, px."""
    scores: np.ndarray
    """(n,) in [0, 1]."""
    landmarks: np.ndarray | None = None
    """(n, 33, 2) BlazePose's landmarks, px of the image, from the built-in detector."""

    def take(self, indices: np.ndarray) -> "Detections":
        """Some of the people, by their indices (m,) or by a mask (n,)."""
        landmarks = None if self.landmarks is None else np.asarray(self.landmarks)[indices]
        return Detections(np.asarray(self.boxes)[indices], np.asarray(self.scores)[indices], landmarks)

    @property
    def leaning(self) -> np.ndarray:
        """(n,) degrees clockwise from upright, by the landmarks; 0 without them."""
        if self.landmarks is None:
            return np.zeros(len(self.boxes))
        return tilt(self.landmarks[:, HIPS], self.landmarks[:, SHOULDERS])


class PersonDetector(Protocol):
    """Finds the people of an image."""

    def __call__(self, image: np.ndarray) -> Detections:
        """The people of an image (H, W, 3), uint8 RGB; none is no error."""
        ...


def find_people(
    detector: PersonDetector, images: np.ndarray | Sequence[np.ndarray], known: Detections | None = None
) -> list[Detections]:
    """The people of each image (H, W, 3), without those whose boxes are too small to use.

    Several images are searched at once: a network alone does not use all cores.

    Args:
        detector: which may have a method `again`, see `Detector`.
        images: that are searched.
        known: people of an image that all are like; None: there is none.
    """
    again = None if known is None else getattr(detector, "again", None)

    def find(image: np.ndarray) -> Detections:
        found = detector(image) if again is None else again(image, known)
        return found.take(usable_boxes(found.boxes, (image.shape[1], image.shape[0])))

    with ThreadPoolExecutor(max(min(len(images), os.cpu_count() or 1, 8), 1)) as threads:
        return list(threads.map(find, images))


def check_image(image: np.ndarray) -> None:
    """Raises ValueError unless the image is (H, W, 3), uint8, and not empty."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"A detector takes images (H, W, 3) of uint8, RGB, not {image.shape} of {image.dtype}.")


def overlaps(box: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlap of a box (4,) with boxes (n, 4): (n,) intersection over union, and (n,) over the smaller area."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), -1)
    areas, area = np.prod(boxes[:, 2:] - boxes[:, :2], -1), np.prod(box[2:] - box[:2])
    tiny = np.finfo(np.float32).tiny
    return shared / np.maximum(areas + area - shared, tiny), shared / np.maximum(np.minimum(areas, area), tiny)


def distinct_boxes(boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.65) -> list[int]:
    """Indices of boxes (n, 4) by falling score (n,), without those that overlap a better one by more (IoU)."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or overlaps(boxes[i], boxes[kept])[0].max() <= overlap:
            kept.append(int(i))
    return kept
