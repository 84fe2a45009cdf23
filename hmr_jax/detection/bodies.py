"""Second stage of the built-in detector: the body in a candidate's circle, by BlazePose's landmarks and mask.

The circle is cut out and turned so that the head is at the top, and the network of landmarks looks at it. It also says
where it would place the circle. Where that is elsewhere, or the candidate is doubtful, it looks again, at its own
circle. A person looks the same both times; what was none, moves.

Shapes: n people, S side of the crop, 256.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from hmr_jax.models.backbones.blazepose import IMAGE_SIZE

_MARGIN = 1.25  # side of the crop to the circle's diameter, as in MediaPipe
_SPECK = 0.05  # of the largest part of the mask: smaller parts are left out
_BODY = 33  # landmarks of the body; then the hips and the circle's top
_UNSTEADY = 0.25  # of the radius: by how much the landmarks of what is no person move between two looks, on average
_NO_PERSON = 0.05  # of the detector's probability times the presence: below, there is no second look
_SURE, _PRESENT, _SAME_CIRCLE = 0.5, 0.9, 0.15  # probability, presence, and shift over radius of what needs none


class Look(NamedTuple):
    """What the network says of a crop."""

    landmarks: np.ndarray
    """(39, 2) px of the image: 33 of the body, then the middle of the hips and the top of the circle, and others."""
    presence: float
    """Probability that the crop shows a person."""
    box: np.ndarray
    """(4,) left, top, right, bottom of the person's pixels, inside the image."""


class Body(NamedTuple):
    """A person."""

    box: np.ndarray
    """(4,) px."""
    landmarks: np.ndarray
    """(33, 2) px."""
    circle: np.ndarray
    """(2, 2) middle of the hips, and the point above them on the circle that holds the body, px."""
    score: float
    """In [0, 1]: the detector's probability, times that of the landmarks, less the more both looks differ."""


Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Crop (1, S, S, 3) in [0, 1] -> landmarks (1, 39, 5), presence (1,), and mask (1, S, S) of logits."""


def find_body(
    network: Network, image: Image.Image, hips: np.ndarray, top: np.ndarray, probability: float
) -> Body | None:
    """The person in a candidate's circle.

    Args:
        network: of landmarks.
        image: RGB.
        hips: (2,) centre of the circle, px.
        top: (2,) on the circle, in the direction of the head, px.
        probability: of the candidate.

    Returns:
        The person, or None where there is surely none.
    """
    first = look(network, image, hips, top)
    if probability * first.presence < _NO_PERSON:
        return None
    own_hips, own_top = first.landmarks[_BODY : _BODY + 2]
    radius = max(np.hypot(*(own_top - own_hips)), 1e-6)
    shift = np.hypot(*(own_hips - hips)) / radius
    if probability > _SURE and first.presence > _PRESENT and shift < _SAME_CIRCLE:
        return _body(first, probability, shift / 2)  # landmarks move about half as much as the circle
    second = look(network, image, own_hips, own_top)
    moved = np.hypot(*(second.landmarks - first.landmarks)[:_BODY].T).mean() / radius
    return _body(second, probability, moved)


def _body(seen: Look, probability: float, moved: float) -> Body:
    score = probability * seen.presence * np.exp(-moved / _UNSTEADY)
    return Body(seen.box, seen.landmarks[:_BODY], seen.landmarks[_BODY : _BODY + 2], float(score))


def look(network: Network, image: Image.Image, hips: np.ndarray, top: np.ndarray) -> Look:
    """The network's view of a circle."""
    crop, matrix = cut(image, hips, top)
    landmarks, presence, mask = (np.asarray(array)[0] for array in network(crop[None]))
    places = landmarks[:, :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return Look(places, float(presence), _box_of(mask > 0, places[:_BODY], matrix, image.size))


def cut(image: Image.Image, hips: np.ndarray, top: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The circle about `hips` through `top`, turned so that `top` is above: a crop, and where it comes from.

    Returns:
        (S, S, 3) in [0, 1], black beyond the image; and (2, 3), an affine map of px of the crop to px of the image.
    """
    radius = max(np.hypot(*(top - hips)), 1e-6)
    down = (hips - top) / radius
    scale = 2 * _MARGIN * max(radius, 1.0) / IMAGE_SIZE
    axes = scale * np.array([[down[1], down[0]], [-down[0], down[1]]])  # columns: right and down of the crop
    start = hips - axes @ np.full(2, IMAGE_SIZE / 2)
    matrix = np.column_stack([axes, start])
    # Only the part that is seen is shrunk, by whole factors; the rest of the scale is interpolated.
    corners = start + IMAGE_SIZE * np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ axes.T
    low = np.clip(np.floor(corners.min(0)) - 2, 0, np.array(image.size) - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 2, low + 1, image.size).astype(int)
    factor = max(int(scale), 1)
    part = image.crop((*low.tolist(), *high.tolist())).reduce(factor)
    inner = np.column_stack([axes, start - low]) / factor
    crop = part.transform(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Transform.AFFINE, tuple(inner.ravel()), Image.Resampling.BILINEAR
    )
    return np.asarray(crop, np.float32) / 255, matrix


def _box_of(mask: np.ndarray, landmarks: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box (4,) of a mask (S, S) without its specks; of the landmarks where it is empty."""
    parts, count = ndimage.label(mask)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    areas[0] = 0
    rows, columns = np.nonzero((areas >= max(_SPECK * areas.max(), 1))[parts])
    points = landmarks
    if len(rows) > 20:
        points = np.column_stack([columns, rows]) + 0.5
        points = points @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.clip(points.min(0), 0, size), np.clip(points.max(0), 0, size)
    return np.concatenate([low, high])
