"""Who is who: boxes of people in frames become tracks, one a person, that bridge gaps and end at shot cuts.

A track expects its box to move on at constant velocity. Boxes are given to tracks so that the sum of costs is least
(Hungarian algorithm; Bewley et al. 2016 for boxes in motion, Wojke et al. 2017 for appearance beside it). Pure NumPy.

Shapes: F frames, n boxes of a frame, D length of a descriptor, H and W an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from hmr_jax.video.cuts import COLORS, color_codes

GAP = 2.0
"""Seconds for which a person may be unseen and is still the same."""
SHORTEST = 0.3
"""Seconds: shorter tracks are false, unless their shot is as short."""
_MEMORY = 0.35  # seconds of boxes from which the velocity is estimated
_COSTLY = 1.0  # cost above which a box is not given to a track
_FAR = 0.5  # of the box's size: a centre that is farther from the expected one costs 1, in the first moment
_FARTHER = 0.8  # of the box's size per second of a gap, added to it
_SIZE = 0.6  # logarithm of the ratio of sizes that costs 1
_UNLIKE = 0.6  # distance of descriptors that costs 1
_HIDDEN = 0.25  # intersection over union above which boxes of two people say little about either's looks


@dataclass
class Track:
    """A person over time; arrays have one row for each frame in which the person was found."""

    frames: list[int] = field(default_factory=list)
    """Frame numbers, ascending."""
    indices: list[int] = field(default_factory=list)
    """Which of the frame's boxes."""
    boxes: list[np.ndarray] = field(default_factory=list)
    """(4,) left, top, right, bottom, px."""
    times: list[float] = field(default_factory=list)
    """Seconds."""
    looks: np.ndarray | None = None
    """(D,) mean descriptor."""

    def add(self, frame: int, index: int, box: np.ndarray, time: float, looks: np.ndarray | None) -> None:
        """Adds a box, and its descriptor unless it is None."""
        self.frames.append(frame)
        self.indices.append(index)
        self.boxes.append(box)
        self.times.append(time)
        if looks is not None:
            share = max(1 / len(self.frames), 0.05)
            self.looks = looks if self.looks is None else (1 - share) * self.looks + share * looks

    def expected(self, time: float) -> np.ndarray:
        """(4,) centre and size of the box at a later time: constant velocity, at most for half a second."""
        since = np.array(self.times[-60:])
        recent = since >= self.times[-1] - _MEMORY
        boxes = centers_and_sizes(np.array(self.boxes[-60:])[recent])
        if len(boxes) < 3:
            return boxes[-1]
        moments = since[recent] - self.times[-1]
        slope, now = np.polyfit(moments, boxes, 1)
        ahead = min(time - self.times[-1], 0.5)
        return np.concatenate([now[:2] + slope[:2] * ahead, now[2:]])


def follow(
    boxes: Sequence[np.ndarray],
    times: Sequence[float],
    cuts: Sequence[bool] | None = None,
    descriptors: Sequence[np.ndarray] | None = None,
    gap: float = GAP,
    shortest: float = SHORTEST,
) -> list[Track]:
    """Follows people from frame to frame.

    Args:
        boxes: of each frame that was searched, (n, 4) left, top, right, bottom, px.
        times: (F,) of these frames, seconds, ascending.
        cuts: (F,) whether a frame is the first of a new shot, in which nobody is followed from the last. None: no cuts.
        descriptors: of each frame, (n, D) of each box, see `describe`. None: people are known by motion alone.
        gap: seconds for which a person may be unseen.
        shortest: seconds below which a track is dropped, or half its shot if that is shorter; 0 keeps all.

    Returns:
        Tracks by their first frame, then by the order of boxes there. Frame numbers count the frames given.
    """
    cut = np.zeros(len(boxes), bool) if cuts is None else np.asarray(cuts, bool)
    alive: list[Track] = []
    every: list[Track] = []
    for frame, (rows, time) in enumerate(zip(boxes, times, strict=True)):
        rows = np.asarray(rows, np.float64).reshape(-1, 4)
        alive = [] if cut[frame] else [track for track in alive if time - track.times[-1] <= gap]
        looks = None if descriptors is None else descriptors[frame]
        given = _assign(alive, rows, time, looks)
        hidden = _overlapping(rows)
        for index, box in enumerate(rows):
            track = given.get(index)
            if track is None:
                track = Track()
                alive.append(track)
                every.append(track)
            seen = looks is not None and (not hidden[index] or track.looks is None)
            track.add(frame, index, box, float(time), looks[index] if looks is not None and seen else None)
    return _without_false(every, np.asarray(times, np.float64), cut, shortest)


def _assign(tracks: list[Track], boxes: np.ndarray, time: float, looks: np.ndarray | None) -> dict[int, Track]:
    """Which track each box belongs to, by the box's index."""
    if not (tracks and len(boxes)):
        return {}
    costs = np.array([_costs(track, boxes, time, looks) for track in tracks])
    rows, columns = linear_sum_assignment(np.minimum(costs, 10 * _COSTLY))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {column: tracks[row] for row, column in pairs if costs[row, column] <= _COSTLY}


def _costs(track: Track, boxes: np.ndarray, time: float, looks: np.ndarray | None) -> np.ndarray:
    """(n,) how little each box fits a track: 0 fits, above `_COSTLY` does not."""
    found, expected = centers_and_sizes(boxes), track.expected(time)
    missing = max(time - track.times[-1], 0.0)
    size = np.exp(expected[2:]).max()
    distance = np.hypot(*(found[:, :2] - expected[:2]).T) / size / (_FAR + _FARTHER * missing)
    shape = np.abs(found[:, 2:] - expected[2:]).mean(1) / _SIZE
    costs = 0.6 * distance + 0.2 * shape
    if looks is not None and track.looks is not None:
        unlike = descriptor_distance(track.looks, looks) / _UNLIKE
        costs = costs + (0.2 + 0.4 * min(missing, 1.0)) * unlike
    return np.where((distance > 1.5) | (shape > 2), np.inf, costs)


def _overlapping(boxes: np.ndarray) -> np.ndarray:
    """(n,) whether each box overlaps another one by much."""
    shared = intersection_over_union(boxes, boxes)
    np.fill_diagonal(shared, 0)
    return np.asarray((shared > _HIDDEN).any(1))


def _without_false(tracks: list[Track], times: np.ndarray, cuts: np.ndarray, shortest: float) -> list[Track]:
    """Tracks that are long enough."""
    shots = np.cumsum(cuts)
    kept = []
    for track in tracks:
        own = times[shots == shots[track.frames[0]]]
        step = (own[-1] - own[0]) / max(len(own) - 1, 1)
        least = min(shortest, (own[-1] - own[0] + step) / 2)
        if len(track.frames) * step >= least:
            kept.append(track)
    return kept


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of boxes (n, 4) and (m, 4): (n, m) in [0, 1]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def centers_and_sizes(boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) as centre x, y in px and the logarithms of width and height, (..., 4)."""
    boxes = np.asarray(boxes, np.float64)
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-3)
    return np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, np.log(sides)], -1)


def as_corners(centers: np.ndarray) -> np.ndarray:
    """The inverse of `centers_and_sizes`."""
    half = np.exp(centers[..., 2:]) / 2
    return np.concatenate([centers[..., :2] - half, centers[..., :2] + half], -1)


def describe(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What people look like: histograms of colours of the upper, middle and lower third of their boxes.

    Args:
        image: (H, W, 3) uint8.
        boxes: (n, 4) left, top, right, bottom, px.

    Returns:
        (n, 192) float32 square roots of shares; each third's squares sum to 1/3.
    """
    made = np.zeros((len(boxes), 3, COLORS), np.float32)
    for number, (left, top, right, bottom) in enumerate(np.asarray(boxes, np.float64)):
        margin = 0.2 * (right - left)  # the sides show more of what is behind
        for third in range(3):
            edges = top + (bottom - top) * third / 3, top + (bottom - top) * (third + 1) / 3
            made[number, third] = _histogram(_part(image, left + margin, edges[0], right - margin, edges[1]))
    return np.sqrt(made / 3).reshape(len(boxes), 3 * COLORS)


def descriptor_distance(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Hellinger's distance of a descriptor (D,) to others (n, D), in [0, 1]: (n,)."""
    return np.sqrt(np.maximum(1 - np.clip(others @ one / max(np.linalg.norm(one), 1e-9), 0, 1), 0))


def _part(image: np.ndarray, left: float, top: float, right: float, bottom: float, most: int = 32) -> np.ndarray:
    """Some pixels (m, 3), at most `most` x `most`, of a rectangle; at least one."""
    height, width = image.shape[:2]
    low = np.clip([left, top], 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil([right, bottom]), low + 1, [width, height]).astype(int)
    steps = np.maximum((high - low) // most, 1)
    return image[low[1] : high[1] : steps[1], low[0] : high[0] : steps[0]].reshape(-1, 3)


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """(m, 3) uint8 -> (64,) shares of colours."""
    return np.bincount(color_codes(pixels), minlength=COLORS) / len(pixels)
