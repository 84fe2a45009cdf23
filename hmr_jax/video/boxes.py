"""The box of a track in every frame: between the frames in which the person was found, steady, and without jumps.

Shapes: F frames of a track.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hmr_jax.video.smoothing import half_width, smooth_values
from hmr_jax.video.tracks import Track, as_corners, centers_and_sizes

UNSEEN = 0.3
"""Seconds: longest time between two detections in which the person is taken to be visible all the same."""
_STEADY = 0.25  # seconds on each side that a box is smoothed over
_MEDIAN = 3  # detections of which the median is taken first


class BoxTrack(NamedTuple):
    """Boxes of a person."""

    start: int
    """Number of the first frame; the others follow without a gap."""
    boxes: np.ndarray
    """(F, 4) left, top, right, bottom, px."""
    visible: np.ndarray
    """(F,) whether the person is to be predicted; elsewhere the time since the last detection is too long."""


def box_track(
    track: Track, searched: np.ndarray, times: np.ndarray, shot: tuple[int, int], reach: int, steady: bool
) -> BoxTrack:
    """Boxes of every frame of a track.

    Args:
        track: its frames number those searched.
        searched: numbers of the frames that were searched, ascending.
        times: of all frames of the video, seconds.
        shot: first frame of the track's shot, and the one after its last.
        reach: frames before the first and after the last detection that still have boxes, if they were not searched.
        steady: whether boxes are smoothed, as those of a detector should be.

    Returns:
        Boxes from the first to the last frame in which the person was found, and `reach` beyond.
    """
    found = searched[track.frames]
    later = searched[track.frames[-1] + 1] if track.frames[-1] + 1 < len(searched) else len(times)
    earlier = searched[track.frames[0] - 1] + 1 if track.frames[0] else 0
    frames = np.arange(max(earlier, shot[0], found[0] - reach), min(later, shot[1], found[-1] + reach + 1))
    rows = centers_and_sizes(np.array(track.boxes))
    if steady and len(rows) >= _MEDIAN:
        rows = ndimage.median_filter(rows, (_MEDIAN, 1), mode="nearest")
    moments = times[frames]
    filled = np.stack([np.interp(moments, times[found], column) for column in rows.T], 1)
    if len(found) > 1:  # beyond the ends the centre moves on as it did
        for end, next_to, beyond in ((0, 1, moments < times[found[0]]), (-1, -2, moments > times[found[-1]])):
            speed = (rows[end, :2] - rows[next_to, :2]) / (times[found[end]] - times[found[next_to]])
            filled[beyond, :2] += speed * (moments[beyond] - times[found[end]])[:, None]
    if steady:
        filled = smooth_values(filled, moments, half_width(times[found], _STEADY))
    return BoxTrack(int(frames[0]), as_corners(filled), _visible(moments, times[found]))


def _visible(moments: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(F,) whether both detections next to a moment are near each other, or it is one."""
    behind = np.searchsorted(found, moments)
    after, before = np.minimum(behind, len(found) - 1), np.maximum(behind - 1, 0)
    step = float(np.median(np.diff(found))) if len(found) > 1 else 0.0
    return (found[after] == moments) | (found[after] - found[before] <= max(UNSEEN, 1.5 * step))


def shots_of(cuts: np.ndarray) -> list[tuple[int, int]]:
    """First frame of each shot and the one after its last, from whether each frame (F,) begins one."""
    edges = [0, *np.flatnonzero(cuts).tolist(), len(cuts)]
    return [(low, high) for low, high in itertools.pairwise(edges) if high > low]
