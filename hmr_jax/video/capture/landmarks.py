"""Landmarks of one person in a video: BlazePose in crops that follow the person and are turned upright.

Shapes: F frames, L = 33 landmarks, S = 256 side of a crop.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from hmr_jax.checkpoints.exported import load_shipped_encoder
from hmr_jax.detection import PersonDetector
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.geometry.upright import rotation_z, tilt
from hmr_jax.models.backbones.blazepose import HIPS, IMAGE_SIZE, SHOULDERS, BlazePose

BODY = 33
"""Landmarks of the body; the network has a few more, of its crop."""
SCALES = (0.85, 1.0, 1.2)
"""Of squares: their mean is more precise than any, as a pixel of the crop is several of the image."""
_MIRRORED = np.array([0, 4, 5, 6, 1, 2, 3, *(i + (1 if i % 2 else -1) for i in range(7, BODY))])
_ROOM = 1.35  # side of a crop to the extent of the landmarks in it
_FIRST_LOOKS = 3  # at the first frame, which has a box only
LOST = 0.5
"""A look with less presence of a person does not move the crop."""
_PATIENCE = 15  # looks in a row that find nobody, after which the person is looked for in the whole frame


@dataclass(frozen=True)
class Square:
    """A turned square of an image."""

    center: np.ndarray
    """(2,) px."""
    side: float
    """px."""
    turn: float = 0.0
    """Degrees clockwise."""

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the crop, px from its corner -> px of the image, from the first pixel's centre."""
        offset = (points - (IMAGE_SIZE + 1) / 2) * (self.side / IMAGE_SIZE)
        return self.center + offset @ rotation_z(np.array([self.turn]))[0, :2, :2].T


class LandmarkNetwork:
    """BlazePose, heavy, with the parameters that the package ships; several looks at each person."""

    def __init__(self, variant: str = "heavy", scales: Sequence[float] = SCALES):
        """Loads the parameters.

        Args:
            variant: of the network.
            scales: of the squares that are looked at, each as it is and mirrored, in sides of the square asked for.
        """
        network = BlazePose(variant)
        self._scales = tuple(scales)
        self._params = jax.device_put(load_shipped_encoder(f"blazepose_{variant}")["encoder"])

        def apply(params, crops):
            output = network.apply({"params": params}, crops)
            return output.landmarks, output.presence

        self._apply = jax.jit(apply)

    def __call__(self, image: np.ndarray, square: Square) -> tuple[np.ndarray, float]:
        """The landmarks of the person in a square: the mean of all looks.

        Args:
            image: (H, W, 3) uint8.
            square: where the person is.

        Returns:
            (33, 3) px of the image and visibility in [0, 1], and the probability that there is a person.
        """
        squares = [replace(square, side=square.side * scale) for scale in self._scales]
        cut = np.stack([extract_crop(image, one.center, one.side, IMAGE_SIZE, one.turn) for one in squares])
        crops = np.concatenate([cut, cut[:, :, ::-1]]).astype(np.float32) / 255
        landmarks, presence = (np.asarray(array, np.float64) for array in self._apply(self._params, crops))
        plain, mirrored = landmarks[: len(cut), :BODY, :4], landmarks[len(cut) :, _MIRRORED, :4]
        mirrored[..., 0] = IMAGE_SIZE - mirrored[..., 0]
        means = (plain + mirrored) / 2
        visibility = 1 / (1 + np.exp(-means[..., 3:]))
        points = np.stack([one.to_image(mean[:, :2]) for one, mean in zip(squares, means, strict=True)])
        return np.concatenate([points, visibility], -1).mean(0), float(presence.mean())


def first_person(detector: PersonDetector) -> Callable[[np.ndarray], np.ndarray | None]:
    """From a frame to the box (4,) of the person whom a detector finds first, px; None if it finds nobody."""

    def find(image: np.ndarray) -> np.ndarray | None:
        boxes = detector(image).boxes
        return boxes[0] if len(boxes) else None

    return find


def follow(landmarks: np.ndarray, previous: Square) -> Square:
    """The square in which to look at the next frame, upright by the line from hips to shoulders.

    Args:
        landmarks: (33, 3) px of the image and visibility.
        previous: the square in which they were found; half of the change of its side is made.
    """
    turn = float(tilt(landmarks[None, HIPS], landmarks[None, SHOULDERS])[0])
    axes = rotation_z(np.array([turn]))[0, :2, :2]
    along = landmarks[:, :2] @ axes  # coordinates along the turned axes
    low, high = along.min(0), along.max(0)
    return Square(axes @ ((low + high) / 2), (previous.side + _ROOM * float((high - low).max())) / 2, turn)


def track(
    look: Callable[[np.ndarray, Square], tuple[np.ndarray, float]],
    find: Callable[[np.ndarray], np.ndarray | None],
    frames: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:
    """The landmarks of a person, frame by frame.

    Args:
        look: from a frame and a square to landmarks (L, 3), px and visibility, and the presence of a person, such as
            `LandmarkNetwork`.
        find: from a frame to the box (4,) of the person, left, top, right, bottom in px, or None: called for the first
            frame, and again while nobody is there.
        frames: images (H, W, 3) uint8 in their order.

    Yields:
        (L, 3) px, and confidence in [0, 1]: visibility times the presence of a person. All are 0 where nobody is there.
    """
    square, missed = None, 0
    for image in frames:
        looks = 1
        if square is None:
            box, looks = find(image), _FIRST_LOOKS
            if box is None:
                yield np.zeros((BODY, 3))
                continue
            square = Square((box[:2] + box[2:]) / 2, _ROOM * float((box[2:] - box[:2]).max()))
        for _ in range(looks):
            landmarks, presence = look(image, square)
            missed = 0 if presence > LOST else missed + 1
            if presence > LOST:
                square = follow(landmarks, square)
        found = landmarks.copy()
        found[:, 2] *= presence
        yield found
        if missed >= _PATIENCE:
            square = None
