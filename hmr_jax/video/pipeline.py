"""From a video to the motion of everybody in it.

    result = predict_video(Predictor.from_checkpoint(), "clip.mp4", "predictions")
    result.people[0].motion.rotations

Three passes over the frames: people are found and followed; bodies are predicted in boxes that are steady over time;
and, after smoothing, bodies are drawn. No pass keeps images, crops or vertices.

Shapes: T frames of the video, n boxes of a frame.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax import __version__
from hmr_jax.geometry.boxes import as_boxes, usable_boxes
from hmr_jax.geometry.intrinsics import image_camera
from hmr_jax.inference import Predictor
from hmr_jax.inference.earlier import file_identity, what_is_common
from hmr_jax.inference.result_files import is_too_long
from hmr_jax.rendering.export import Axes, plain
from hmr_jax.video.boxes import BoxTrack, box_track, shots_of
from hmr_jax.video.cuts import find_cuts
from hmr_jax.video.drawing import write_overlay, write_recording
from hmr_jax.video.files import (
    check_video_kinds,
    remove_old,
    video_file,
    write_page,
    write_person,
    write_pickle,
    write_summary,
)
from hmr_jax.video.footing import planted
from hmr_jax.video.frames import VideoInfo, read_info
from hmr_jax.video.kinds import DEFAULT_VIDEO_KINDS, VideoKind
from hmr_jax.video.motion import Motion, filled, smoothed
from hmr_jax.video.passes import GivenBoxes, predict, search
from hmr_jax.video.posing import Posing, mean_shape, rig_of
from hmr_jax.video.refining import MotionRefiner
from hmr_jax.video.results import PersonTrack, VideoResult
from hmr_jax.video.smoothing import HALF_WIDTH
from hmr_jax.video.tracks import GAP, SHORTEST, follow
from hmr_jax.video.work import Work
from hmr_jax.video.world import world_of

_SEARCHES = 10  # per second, if nothing else is asked for


def predict_video(
    predictor: Predictor,
    path: str | Path,
    output: str | Path,
    boxes: GivenBoxes = None,
    intrinsics: Any = None,
    kinds: Collection[VideoKind] = DEFAULT_VIDEO_KINDS,
    smooth: bool = True,
    detect_every: int | None = None,
    gap: float = GAP,
    shortest: float = SHORTEST,
    smoothing: float = HALF_WIDTH,
    name: str | None = None,
    axes: Axes = "opengl",
    planted_feet: bool = True,
    up: Sequence[float] | np.ndarray | None = None,
) -> VideoResult:
    """Predicts the people of a video, and writes files of each, `NAME_person_0.npz`, .glb, .bvh, and of the whole,
    `NAME_video.json` and `NAME_overlay.mp4`.

    An interrupted run goes on where it was when it is called again with the same arguments.

    Args:
        predictor: the network, with its detector.
        path: of the video.
        output: folder of the results.
        boxes: left, top, right, bottom in px of the upright frame: (n, 4) of every frame, or by frame number, where
            frames without an entry are interpolated. None: the people are found.
        intrinsics: (3, 3), or fx, fy, cx, cy in px of the upright frame; with a lens as `Predictor` takes it. None: the
            default of `PersonPrediction`.
        kinds: of files that are written, see `hmr_jax.video.kinds`.
        smooth: whether tracks are smoothed and get one shape each. Otherwise they are as predicted frame by frame.
        detect_every: frames from one search for people to the next. None: about 10 searches a second.
        gap: seconds for which a person may be unseen and is still the same.
        shortest: seconds below which tracks that the detector found are dropped as false.
        smoothing: seconds on each side of a frame that smoothing takes into account.
        name: of the files, without ending. None: that of the video.
        axes: of the .glb, .bvh and .usdc files.
        planted_feet: whether feet that stand are held, see `hmr_jax.video.footing`; only where tracks are smoothed.
        up: (3,) direction against gravity in the camera's axes, see `hmr_jax.video.world`. None: that of the people.

    Returns:
        The people.

    Raises:
        FileNotFoundError: there is no such video.
        ValueError: it cannot be read or is cut off, or boxes, intrinsics or another argument cannot be used.
        ImportError: PyAV, or what a kind of files needs, is not installed.
    """
    path, output, name = Path(path), Path(output), name or Path(path).stem
    if is_too_long(name):
        raise ValueError(f"{path}: the name is too long for those of the results; shorten it.")
    if not (gap >= 0 and shortest >= 0 and smoothing > 0):
        raise ValueError(f"gap {gap}, shortest {shortest} and smoothing {smoothing} must be seconds, not negative.")
    if up is not None and not (np.shape(up) == (3,) and np.isfinite(up).all() and np.linalg.norm(up) > 0):
        raise ValueError(f"up is {up}: give three numbers, such as 0, -1, 0 for a camera that is level.")
    check_video_kinds(kinds, axes)
    info = read_info(path)
    camera = None
    if intrinsics is not None:
        intrinsics = image_camera((info.width, info.height), intrinsics, None, predictor.crop_focal_length)
        camera = plain(intrinsics.describe())
    every = max(round(info.rate / _SEARCHES), 1) if detect_every is None else detect_every
    if every < 1:
        raise ValueError(f"detect_every is {detect_every}: give 1 or more frames.")
    boxes = _checked(boxes, path)
    output.mkdir(parents=True, exist_ok=True)
    common = what_is_common(
        predictor, video=file_identity(path), camera=camera, boxes=_digest(boxes), every=every, gap=gap,
        shortest=shortest, smooth=smooth,
    )  # fmt: skip
    work = Work(output / f".{name}.work", common)
    search(predictor, path, info, work, boxes, every)
    found = boxes is None
    times, shots, tracks = _follow(work, gap, shortest if found else 0.0, every - 1 if found else 0, steady=found)
    predict(predictor, path, info, work, _plan(tracks, info), intrinsics, refine=predictor.refine and not smooth)
    posing = Posing(predictor.body)
    refiner = MotionRefiner(predictor.body, posing)
    people: list[PersonTrack] = []
    lens = None if intrinsics is None else intrinsics.lens
    for number, motion in enumerate(_motions(work, tracks, times)):
        motion = dataclasses.replace(motion, lens=lens)
        whole = filled(motion, posing)
        shown = smoothed(whole, posing, smoothing) if smooth else whole
        if smooth and predictor.refine and whole.seen is not None:
            shown = refiner(whole, shown, smoothing, planted_feet)
        elif smooth and planted_feet:
            shown = planted(shown, posing)
        betas = mean_shape(shown.betas, shown.predicted.astype(float))
        people.append(PersonTrack(number, shown, whole, betas, rig_of(predictor.body, betas)))
    people = _in_worlds(people, shots, up)
    if not people:
        warnings.warn(f"No people were found in {path.name}.", stacklevel=2)
    result = VideoResult(info, times, shots, people, _header(predictor, path, info, len(times)))
    _write(result, predictor, path, output, name, kinds, posing, axes)
    work.remove()
    return result


def _checked(boxes: GivenBoxes, path: Path) -> GivenBoxes:
    """Boxes as arrays (n, 4); raises ValueError if they are none."""
    if boxes is None:
        return None
    if isinstance(boxes, str):
        raise ValueError(f"Boxes '{boxes}': give (n, 4) for each frame of {path.name}, or None to find the people.")
    pairs = boxes.items() if isinstance(boxes, Mapping) else enumerate(boxes)
    made = {int(number): as_boxes(rows, f"The boxes of frame {number} of {path.name}") for number, rows in pairs}
    return made if isinstance(boxes, Mapping) else list(made.values())


def _digest(boxes: GivenBoxes) -> str:
    if boxes is None:
        return ""
    pairs = sorted(boxes.items() if isinstance(boxes, Mapping) else enumerate(boxes))
    digest = hashlib.sha256()
    for number, rows in pairs:
        digest.update(f"{number} {len(rows)} ".encode() + np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()


def _header(predictor: Predictor, path: Path, info: VideoInfo, frames: int) -> dict[str, Any]:
    """First fields of the summary."""
    return {
        "version": __version__,
        "checkpoint": predictor.checkpoint,
        "topology": predictor.body.topology,
        "axes": "opencv",
        "video": {
            "file": path.name, "width": info.width, "height": info.height, "frames": frames,
            "rate": float(info.rate), "rotation": info.rotation, "sound": info.sound,
        },
    }  # fmt: skip


def _follow(
    work: Work, gap: float, shortest: float, reach: int, steady: bool
) -> tuple[np.ndarray, list[tuple[int, int]], list[BoxTrack]]:
    """Times (T,) of all frames, the shots, and boxes of each person."""
    found = work.joined("search")
    times, searched = found["times"], np.flatnonzero(found["searched"])
    cuts = find_cuts(found["differences"])
    shots, shot_of = shots_of(cuts), np.cumsum(cuts)
    if not len(searched):
        return times, shots, []
    ends = np.cumsum(found["counts"][searched])[:-1]
    boxes, looks = np.split(found["boxes"], ends), np.split(found["looks"].astype(np.float32), ends)
    new = (np.diff(shot_of[searched], prepend=0) > 0).tolist()
    made = []
    for track in follow(boxes, times[searched].tolist(), new, looks, gap, shortest):
        shot = shots[shot_of[searched[track.frames[0]]]]
        made.append(box_track(track, searched, times, shot, reach, steady))
    return times, shots, made


def _plan(tracks: list[BoxTrack], info: VideoInfo) -> dict[int, list[tuple[int, np.ndarray]]]:
    """By frame, the tracks that are predicted there, and their boxes (4,)."""
    plan: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, track in enumerate(tracks):
        for i in np.flatnonzero(track.visible & usable_boxes(track.boxes, (info.width, info.height))):
            plan.setdefault(track.start + int(i), []).append((number, track.boxes[i]))
    return plan


def _motions(work: Work, tracks: list[BoxTrack], times: np.ndarray) -> list[Motion]:
    """What was predicted of each track; rows without prediction are 0."""
    rows = work.joined("people")
    made = []
    for number, track in enumerate(tracks if rows else []):
        own = np.flatnonzero(rows["track"] == number)
        if not len(own):  # its boxes are too small
            continue
        places = rows["frame"][own] - track.start
        count = len(track.boxes)
        predicted = np.zeros(count, bool)
        predicted[places] = True

        def spread(name: str, own=own, places=places, count=count) -> np.ndarray:
            array = np.zeros((count, *rows[name].shape[1:]), np.float32)
            array[places] = rows[name][own]
            return array

        frames = np.arange(track.start, track.start + count)
        made.append(
            Motion(
                frames=frames,
                times=times[frames],
                boxes=track.boxes,
                predicted=predicted,
                rotations=spread("rotations"),
                betas=spread("betas"),
                translation=spread("translation"),
                joints=spread("joints"),
                keypoints_3d=spread("keypoints_3d"),
                keypoints_image=spread("keypoints_image"),
                focal_length=rows["focal_length"][own[0]],
                principal_point=rows["principal_point"][own[0]],
                sigma=spread("sigma") if "sigma" in rows else None,
                seen=spread("seen") if "seen" in rows else None,
                moved=spread("moved") if "moved" in rows else None,
                camera_source=str(rows["camera_source"][own[0]]),
            )
        )
    return made


def _in_worlds(people: list[PersonTrack], shots: list[tuple[int, int]], up: Any) -> list[PersonTrack]:
    """The people, each with the world of its shot."""
    made = []
    for low, high in shots:
        own = [person for person in people if low <= person.motion.frames[0] < high]
        world = world_of([person.motion for person in own], up) if own else None
        made += [dataclasses.replace(person, world=world) for person in own]
    return sorted(made, key=lambda person: person.number)


def _write(
    result: VideoResult, predictor: Predictor, path: Path, output: Path, name: str, kinds: Collection[VideoKind],
    posing: Posing, axes: Axes,
) -> None:  # fmt: skip
    """Writes all files, the summary last, and lists them in the result."""
    files = result.files
    for person in result.people:
        files.extend(write_person(output, name, person, result, kinds, axes))
    overlay = None
    if "overlay" in kinds and result.people:
        overlay = video_file(output, name, "overlay")
        write_overlay(overlay, path, result, posing, predictor.config.model.focal_length)
        files.append(overlay)
    if "rrd" in kinds and result.people:
        write_recording(video_file(output, name, "rrd"), path, result, posing)
        files.append(video_file(output, name, "rrd"))
    if "pkl" in kinds:
        write_pickle(video_file(output, name, "pkl"), result, posing)
        files.append(video_file(output, name, "pkl"))
    if "html" in kinds:
        write_page(video_file(output, name, "html"), result, overlay)
        files.append(video_file(output, name, "html"))
    remove_old(output, name, files)
    write_summary(video_file(output, name, "json"), name, result, kinds)
    files.append(video_file(output, name, "json"))
