"""The people whom a camera sees now: each frame is predicted by itself, without smoothing, which would look ahead."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hmr_jax.detection.detections import overlaps
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.video.frames import Frame
from hmr_jax.video.passes import VideoPredictor

_THOROUGH = 10  # frames from one thorough search to the next
_SAME = 0.3  # overlap (IoU) of the boxes of a person in two frames


def live_people(
    predictor: VideoPredictor, frames: Iterable[Frame], intrinsics: Any = None
) -> Iterator[tuple[Frame, dict[int, PersonPrediction]]]:
    """Each frame with its people by number; who overlaps a person of the frame before has the same number.

    Args:
        predictor: the network, with its detector.
        frames: of one camera.
        intrinsics: of the camera, as for `Predictor`, or None.
    """
    known, people, following = None, dict[int, PersonPrediction](), 0
    for count, frame in enumerate(frames):
        (found,) = predictor.detect([frame.image], known if count % _THOROUGH else None)
        seen = predictor([frame.image], [found.boxes], intrinsics, turns=[found.leaning])
        numbers = _numbers(people, seen)
        people = {}
        for number, person in zip(numbers, seen, strict=True):
            if number is None:
                number, following = following, following + 1
            people[number] = person
        known = found
        yield frame, people


def _numbers(before: dict[int, PersonPrediction], now: Sequence[PersonPrediction]) -> list[int | None]:
    """The number of each person in the frame before, of the largest overlaps; None: there is none."""
    numbers: list[int | None] = [None] * len(now)
    if not before or not now:
        return numbers
    names = list(before)
    shares = np.stack([overlaps(one.box, np.stack([before[name].box for name in names]))[0] for one in now])
    while shares.max() > _SAME:
        row, column = np.unravel_index(shares.argmax(), shares.shape)
        numbers[row] = names[column]
        shares[row], shares[:, column] = -1, -1
    return numbers


def as_they_come(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames not before their times: a file that stands for a camera is not read ahead."""
    start = time.monotonic()
    for frame in frames:
        time.sleep(max(start + frame.time - time.monotonic(), 0.0))
        yield frame
