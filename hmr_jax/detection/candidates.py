"""First stage of the built-in detector: where people may be, as circles about their hips.

BlazePose's detector sees an image at several sizes (levels). Its layers are convolutions, so that a larger image needs
no tiles. Every level has one of two shapes, wide or high, so that there are few programs to compile. Long images are
cut into overlapping windows first.

Shapes: H, W the image, n candidates, N anchors.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

ASPECT = (7, 5)
"""Longer to shorter side of a level; both times 32 are multiples of the network's stride."""
LONGEST = 2.0
"""Times the shorter side; longer images are cut into windows."""
_MOST_WINDOWS = 8
_SAME = 0.4  # of the smaller radius: candidates whose hips and heads are nearer are the same
_MOST_ANCHORS = 300  # of a level, the best


class Candidates(NamedTuple):
    """Where people may be."""

    hips: np.ndarray
    """(n, 2) middle of the hips, px of the image."""
    tops: np.ndarray
    """(n, 2) on the circle about the hips that holds the body, in the direction of the head."""
    heads: np.ndarray
    """(n, 2) centre of the face."""
    scores: np.ndarray
    """(n,) probabilities."""

    def take(self, indices: list[int] | slice) -> "Candidates":
        """Some of the candidates."""
        return Candidates(*(array[indices] for array in self))


Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(1, H, W, 3) in [-1, 1] -> scores and points of `DetectorOutput`."""


def find_candidates(network: Network, image: Image.Image, levels: tuple[int, ...], threshold: float) -> Candidates:
    """Candidates of an image, the surest first.

    Args:
        network: the detector.
        image: RGB.
        levels: longer sides at which it is seen, px, multiples of 224.
        threshold: on the probability.

    Returns:
        Candidates in px of the image.
    """
    found = []
    for left, top, width, height in _windows(*image.size):
        window = image.crop((left, top, left + width, top + height))
        for level in levels:
            pixels, scale = network_input(window, level)
            scores, points = network(pixels)
            found.append(_decode(scores[0], points[0], scale, (left, top), threshold))
    return distinct(joined(found))


def network_input(image: Image.Image, level: int) -> tuple[np.ndarray, float]:
    """An image resized into a level, at its upper left, black beyond it: (1, H, W, 3) in [-1, 1], and the factor."""
    sides = level, level * ASPECT[1] // ASPECT[0]
    width, height = sides if image.width >= image.height else sides[::-1]
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    pixels = np.full((1, height, width, 3), -1, np.float32)
    pixels[0, : size[1], : size[0]] = np.asarray(small, np.float32) / 127.5 - 1
    return pixels, scale


def _windows(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, width and height of the windows of an image: one, or several of `ASPECT` that overlap by half."""
    longer, shorter = max(width, height), min(width, height)
    if longer <= LONGEST * shorter:
        yield 0, 0, width, height
        return
    side = max(shorter * ASPECT[0] // ASPECT[1], 1)
    count = min(-(-2 * longer // side) - 1, _MOST_WINDOWS)
    side = max(side, -(-2 * longer // (count + 1)))
    for start in np.linspace(0, longer - side, count).astype(int).tolist():
        yield (start, 0, side, height) if width > height else (0, start, width, side)


def _decode(
    scores: np.ndarray, points: np.ndarray, scale: float, offset: tuple[int, int], threshold: float
) -> Candidates:
    """Candidates of a level, in px of the image."""
    best = np.argsort(-scores)[:_MOST_ANCHORS]
    scores = 1 / (1 + np.exp(-np.clip(scores[best], -50, 50).astype(np.float64)))
    best, scores = best[scores > threshold], scores[scores > threshold]
    places = points[best].astype(np.float64) / scale + offset
    kept = np.hypot(*(places[:, 3] - places[:, 2]).T) * scale > 1  # circles of a pixel are no people
    return Candidates(places[kept, 2], places[kept, 3], places[kept, 0], scores[kept])


def joined(parts: list[Candidates]) -> Candidates:
    """All candidates of several lists."""
    return Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def distinct(candidates: Candidates) -> Candidates:
    """Candidates by falling score, without repetitions of better ones."""
    kept: list[int] = []
    radii = np.hypot(*(candidates.tops - candidates.hips).T)
    for i in np.argsort(-candidates.scores, kind="stable"):
        reach = _SAME * np.minimum(radii[i], radii[kept])
        hips = np.hypot(*(candidates.hips[kept] - candidates.hips[i]).T)
        heads = np.hypot(*(candidates.heads[kept] - candidates.heads[i]).T)
        if not ((hips < reach) & (heads < reach)).any():
            kept.append(int(i))
    return candidates.take(kept)
