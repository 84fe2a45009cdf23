"""The passes over a video's frames that need a network: who is where, and how they are posed.

Both write what they find to the working folder, in parts, and go on where they stopped.

Shapes: F frames, n boxes of a frame, P people of all frames.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmr_jax.detection import Detections
from hmr_jax.geometry.boxes import usable_boxes
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.refining import is_seen, keypoints_of
from hmr_jax.video.ahead import ahead
from hmr_jax.video.cuts import CUT, difference, signature
from hmr_jax.video.frames import Frame, VideoInfo, read_frames
from hmr_jax.video.tracks import describe
from hmr_jax.video.work import Work

PART = 16
"""Frames of a part of the working folder: what an interruption loses at most."""
_IMAGES = 8  # in memory at once
_FIELDS = ("translation", "betas", "joints", "keypoints_3d", "keypoints_image")

GivenBoxes = Mapping[int, np.ndarray] | Sequence[np.ndarray] | None
"""(n, 4) by frame number, or of every frame; None: people are found."""


class VideoPredictor(Protocol):
    """What is needed of `hmr_jax.inference.Predictor`."""

    refine: bool
    """Whether bodies are moved onto keypoints."""

    def __call__(
        self, images: Any, boxes: Any = None, intrinsics: Any = None, *, turns: Any = None, refine: bool | None = None
    ) -> list[PersonPrediction]:
        """Predictions of the boxes of images."""
        ...

    def detect(self, images: Any, known: Detections | None = None) -> list[Detections]:
        """The people of each image; `known` are those of an image that all are like."""
        ...


def progress(info: VideoInfo, what: str, start: int = 0) -> tqdm:
    """A bar that counts frames."""
    return tqdm(total=info.frames or None, initial=start, desc=what, unit="frame", disable=not sys.stderr.isatty())


def search(predictor: VideoPredictor, path: Path, info: VideoInfo, work: Work, boxes: GivenBoxes, every: int) -> None:
    """Finds people in each `every`-th frame and in those that may begin a shot, or takes the boxes given.

    The first frames of groups and shots are searched thoroughly, the others as finely as their people need.

    Parts "search": of each frame, "times", "differences" (`cuts.difference`), "searched", "counts" (n); of each box,
    "boxes" (4,) and "looks" (192,).

    Raises:
        ValueError: boxes are of another number of frames than the video has.
    """
    if work.is_complete("search"):
        return
    start = work.done("search")
    rows: dict[str, list] = {name: [] for name in ("times", "differences", "searched", "counts", "boxes", "looks")}
    waiting: list[np.ndarray] = []
    last: np.ndarray | None = None
    stop = start

    def find() -> None:
        found = predictor.detect(waiting[:1]) if waiting else []
        if len(waiting) > 1:
            found += predictor.detect(waiting[1:], found[0])
        for image, one in zip(waiting, found, strict=True):
            add(image, one.boxes)
        waiting.clear()

    def add(image: np.ndarray, found: np.ndarray) -> None:
        found = np.asarray(found, np.float32).reshape(-1, 4)
        found = found[usable_boxes(found, (image.shape[1], image.shape[0]))]
        rows["boxes"].append(found)
        rows["looks"].append(describe(image, found).astype(np.float16))
        rows["counts"].append(len(found))

    def flush() -> None:
        find()
        counts = np.zeros(len(rows["times"]), np.int64)
        counts[np.array(rows["searched"], bool)] = rows["counts"]
        work.add("search", stop, {
            "times": np.array(rows["times"]), "differences": np.array(rows["differences"]),
            "searched": np.array(rows["searched"], bool), "counts": counts,
            "boxes": np.concatenate([np.zeros((0, 4), np.float32), *rows["boxes"]]),
            "looks": np.concatenate([np.zeros((0, 192), np.float16), *rows["looks"]]),
        })  # fmt: skip
        for values in rows.values():
            values.clear()

    with progress(info, "finding people", start) as bar:
        first = max(start - 1, 0)
        for number, (image, time) in enumerate(ahead(read_frames(path, first)), first):
            now = signature(image)
            change = 0.0 if last is None else difference(last, now)
            last = now
            if number < start:  # read for its signature
                continue
            given = _given(boxes, number)
            searched = given is not None if boxes is not None else number % every == 0 or change > CUT
            rows["times"].append(time)
            rows["differences"].append(change)
            rows["searched"].append(searched)
            if given is not None:
                add(image, given)
            elif searched:
                if change > CUT:
                    find()
                waiting.append(image)
            if len(waiting) == _IMAGES:
                find()
            stop = number + 1
            bar.update()
            if len(rows["times"]) == PART:
                flush()
    if rows["times"]:
        flush()
    if isinstance(boxes, Mapping) and (outside := [number for number in boxes if not 0 <= number < stop]):
        raise ValueError(f"{path.name} has {stop} frames, but there are boxes for frame {outside[0]}.")
    if boxes is not None and not isinstance(boxes, Mapping) and len(boxes) != stop:
        raise ValueError(f"{path.name} has {stop} frames, but there are boxes for {len(boxes)}: give them for each.")
    work.finish("search")


def _given(boxes: GivenBoxes, number: int) -> np.ndarray | None:
    """Boxes given for a frame; None: there are none, or nothing is said of it."""
    if boxes is None:
        return None
    if isinstance(boxes, Mapping):
        return boxes.get(number)
    return boxes[number] if number < len(boxes) else None


def predict(
    predictor: VideoPredictor,
    path: Path,
    info: VideoInfo,
    work: Work,
    plan: Mapping[int, Sequence[tuple[int, np.ndarray]]],
    intrinsics: Any,
    refine: bool,
) -> None:
    """Predicts people in their boxes.

    Parts "people": of each person of each frame "frame", "track", "rotations" (24, 3) and others of `Motion`.

    Args:
        predictor: the network.
        path: of the video.
        info: of the video.
        work: the working folder.
        plan: by frame number, numbers of tracks and their boxes (4,).
        intrinsics: of the camera, or None.
        refine: whether bodies are refined frame by frame. Else what they can be refined by later is kept, too.
    """
    if work.is_complete("people"):
        return
    start = work.done("people")
    end = max(plan, default=-1) + 1
    rows: dict[str, list] = {}
    turns = _last_turns(work)
    with progress(info, "posing bodies", start) as bar:
        part = start
        for number, frames in _batches(ahead(read_frames(path, start)), start, end):
            stop = number + len(frames)
            chosen = [i for i in range(len(frames)) if plan.get(number + i)]
            if chosen:
                images = [frames[i].image for i in chosen]
                boxes = [np.array([box for _, box in plan[number + i]]) for i in chosen]
                starts = [np.array([turns.get(track, 0.0) for track, _ in plan[number + i]]) for i in chosen]
                people = predictor(images, boxes, intrinsics, turns=starts, refine=refine)
                owners = [(number + i, track) for i in chosen for track, _ in plan[number + i]]
                for (frame, track), person in zip(owners, people, strict=True):
                    for name, value in (("frame", frame), ("track", track), *_row(person)):
                        rows.setdefault(name, []).append(value)
                    turns[track] = person.box_turn
            bar.update(len(frames))
            if stop - part >= PART or stop == end:
                work.add("people", stop, {name: np.array(values) for name, values in rows.items()})
                rows, part = {}, stop
    work.finish("people")


def _last_turns(work: Work) -> dict[int, float]:
    """Degrees by which the last crop of each track was turned, in which the next person is nearly upright."""
    return {
        int(track): float(turn)
        for part in work.parts("people", ("track", "box_turn"))
        for track, turn in zip(part.get("track", ()), part.get("box_turn", ()), strict=True)
    }


def _row(person: PersonPrediction) -> Iterator[tuple[str, Any]]:
    """What is kept of a prediction."""
    matrices = np.concatenate([person.global_orient, person.body_pose])
    yield "rotations", Rotation.from_matrix(matrices).as_rotvec().astype(np.float32)
    for name in _FIELDS:
        yield name, np.asarray(getattr(person, name), np.float32)
    yield "focal_length", np.asarray(person.focal_length, np.float32)
    yield "principal_point", np.asarray(person.principal_point, np.float32)
    yield "camera_source", getattr(person, "camera_source", "default")
    yield "box_turn", person.box_turn
    if person.sigma is not None:
        yield "sigma", np.asarray(person.sigma, np.float32)
    if person.moved is not None:
        yield "moved", np.float32(person.moved)
    elif is_seen(person):
        (seen,), (sigma,) = keypoints_of([person])
        yield "seen", np.concatenate([seen, sigma[:, None]], -1).astype(np.float32)


def _batches(frames: Iterator[Frame], start: int, end: int) -> Iterator[tuple[int, list[Frame]]]:
    """Groups of frames up to `end`, each with the number of its first."""
    batch: list[Frame] = []
    for frame in itertools.islice(frames, max(end - start, 0)):
        batch.append(frame)
        if len(batch) == _IMAGES:
            yield start, batch
            start, batch = start + len(batch), []
    if batch:
        yield start, batch
