"""A video with the bodies over it, as a video and as a recording for Rerun.

Shapes: H, W a frame.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hmr_jax.inference.batches import in_batches
from hmr_jax.inference.placing import bend, placed_for_drawing
from hmr_jax.rendering.overlay import PALETTE, draw_bodies
from hmr_jax.rendering.rerun_files import Body, View, write_rerun
from hmr_jax.video.ahead import ahead
from hmr_jax.video.frames import Frame, read_frames
from hmr_jax.video.mp4 import writing_mp4
from hmr_jax.video.passes import progress
from hmr_jax.video.posing import Posing
from hmr_jax.video.results import PersonTrack, VideoResult

_UNSURE = np.array([0.75, 0.75, 0.75])  # what the colours of interpolated bodies are mixed with


def write_overlay(target: Path, source: Path, result: VideoResult, posing: Posing, lens: float) -> None:
    """Writes the video with the bodies drawn over it.

    Args:
        target: the mp4 file.
        source: the video.
        result: of the video.
        posing: of the body.
        lens: focal length of the network's camera, see `placed_for_drawing`; where all are refined, it does not count.
    """
    info = result.info
    seen_through = None if all(person.motion.moved is not None for person in result.people) else lens
    with (
        writing_mp4(target, (info.width, info.height), info.rate, source) as writer,
        progress(info, "drawing") as bar,
    ):

        def draw(numbered: Sequence[tuple[int, Frame]]) -> list[np.ndarray]:
            return [_drawn(frame.image, number, result.people, posing, seen_through) for number, frame in numbered]

        for drawn, time in zip(in_batches(draw, _frames(source, result)), result.times, strict=False):
            writer.write(drawn, float(time))
            bar.update()


def write_recording(target: Path, source: Path, result: VideoResult, posing: Posing) -> None:
    """Writes the frames, and the bodies in space, as a recording for Rerun; arguments as of `write_overlay`."""

    def moments() -> Iterator[tuple[float, np.ndarray, list[Body]]]:
        for number, frame in _frames(source, result):
            bodies = []
            for person, row in _there(result.people, number):
                motion = person.motion
                placed = posing.vertices(motion.betas[row], motion.rotations[row]) + motion.translation[row]
                bodies.append(Body(person.number, placed, motion.keypoints_image[row], motion.boxes[row]))
            yield float(result.times[number]), frame.image, bodies

    info, camera = result.info, result.people[0].motion.camera
    view = View(camera.focal_length, camera.principal_point, (info.width, info.height))
    write_rerun(target, result.about["video"]["file"], view, posing.faces, moments())


def _frames(source: Path, result: VideoResult) -> Iterator[tuple[int, Frame]]:
    return enumerate(itertools.islice(ahead(read_frames(source)), len(result.times)))


def _there(people: Sequence[PersonTrack], number: int) -> Iterator[tuple[PersonTrack, int]]:
    """Who is in a frame, and in which row of their motion."""
    for person in people:
        row = number - int(person.motion.frames[0])
        if 0 <= row < len(person.motion.frames):
            yield person, row


def _drawn(
    image: np.ndarray, number: int, people: Sequence[PersonTrack], posing: Posing, lens: float | None
) -> np.ndarray:
    """A frame with the bodies over it, see `placed_for_drawing`; those that were interpolated are paler."""
    bodies, colors = [], []
    for person, row in _there(people, number):
        motion, now = person.motion, slice(row, row + 1)
        points, camera = (motion.keypoints_3d[now], motion.keypoints_image[now], motion.translation[now]), motion.camera
        translation, matrix = placed_for_drawing(*points, camera, (image.shape[1], image.shape[0]), lens)
        body = posing.vertices(motion.betas[row], motion.rotations[row]) + translation[0]
        if body[:, 2].min() > 0:
            color = PALETTE[person.number % len(PALETTE)]
            bodies.append(bend(body, motion.lens))
            colors.append(color if motion.predicted[row] else (color + 2 * _UNSURE) / 3)
    if not bodies:
        return image
    return draw_bodies(image, bodies, posing.faces, matrix, colors=np.array(colors))
