"""Writing a video: H.264 in an mp4 file, with the times and the sound of another video.

Shapes: H, W the frame.
"""

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.io import atomic
from hmr_jax.video.frames import import_av, open_video, start_of

_BT709 = 1  # of H.273's tables: primaries, transfer and matrix of ITU-R BT.709
_LIMITED_RANGE = 1  # FFmpeg's number
_CLOCK = 90_000  # ticks per second
_QUALITY = {"crf": "20", "preset": "veryfast"}
_COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})  # sounds that players find in mp4 files


class Mp4Writer:
    """Takes frames one by one; `writing_mp4` makes and ends it."""

    def __init__(self, container: Any, stream: Any, sound: "_Sound | None"):
        """Of an open container, its stream of images, and the sound."""
        self._container, self._stream, self._sound = container, stream, sound
        self._last = -1

    def write(self, image: np.ndarray, time: float) -> None:
        """Adds a frame.

        Args:
            image: (H, W, 3) uint8 RGB; a last odd row or column is left out, as H.264 has none.
            time: seconds at which it is shown; later than that of the frame before.
        """
        av = import_av()
        shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[: self.height, : self.width]), format="rgb24")
        frame = shown.reformat(format="yuv420p", dst_colorspace=_BT709)
        self._last = frame.pts = max(round(time * _CLOCK), self._last + 1)
        frame.time_base = Fraction(1, _CLOCK)
        if self._sound is not None:
            self._sound.mux_until(time)
        self._container.mux(self._stream.encode(frame))

    @property
    def width(self) -> int:
        """Of the file's frames, px."""
        return self._stream.width

    @property
    def height(self) -> int:
        """Of the file's frames, px."""
        return self._stream.height

    def finish(self) -> None:
        """Writes what is left: the last frames and the rest of the sound."""
        if self._sound is not None:
            self._sound.mux_until(np.inf)
        self._container.mux(self._stream.encode(None))


class _Sound:
    """Copies the sound of a video: its packets, or encoded anew where mp4 files do not hold them."""

    def __init__(self, source: Any, target: Any):
        self._stream = source.streams.audio[0]
        self._start = start_of(source)
        self._target = target
        self._copies = self._stream.codec_context.name in _COPIED
        if self._copies:
            self._output = target.add_stream_from_template(self._stream)
        else:
            self._output = target.add_stream("aac", rate=self._stream.codec_context.sample_rate or 48_000)
        self._packets = source.demux(self._stream)
        self._next: Any = next(self._packets, None)

    def mux_until(self, time: float) -> None:
        """Adds what is heard before a time in seconds."""
        while self._next is not None:
            packet = self._next
            if packet.pts is not None and float(packet.pts * packet.time_base) - self._start > time:
                return
            self._mux(packet)
            self._next = next(self._packets, None)
        if time == np.inf and not self._copies:
            self._target.mux(self._output.encode(None))

    def _mux(self, packet: Any) -> None:
        av = import_av()
        shift = round(self._start / packet.time_base)
        if not self._copies:
            for frame in packet.decode():
                frame.pts = None if frame.pts is None else frame.pts - shift
                self._target.mux(self._output.encode(frame))
        elif packet.dts is not None:
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._output
            with contextlib.suppress(av.error.InvalidDataError):
                self._target.mux(packet)


@contextlib.contextmanager
def writing_mp4(path: Path, size: tuple[int, int], rate: Fraction, sound_of: Path | None = None) -> Iterator[Mp4Writer]:
    """Writes an mp4 file completely or not at all.

    Args:
        path: of the file.
        size: width and height of the frames, px; odd ones are rounded down to even ones.
        rate: frames per second, nearly; each frame has its own time.
        sound_of: video whose sound is kept: copied where mp4 files hold it, else as AAC. None: no sound.

    Yields:
        What takes the frames.

    Raises:
        ValueError: a side is shorter than 2 px.
        ImportError: PyAV is not installed.
    """
    av = import_av()
    width, height = (side // 2 * 2 for side in size)
    if not (width and height):
        raise ValueError(f"A video of {size[0]}x{size[1]} pixels cannot be written: give 2 pixels or more.")
    with contextlib.ExitStack() as stack:
        part = stack.enter_context(atomic.writing(path))
        container = stack.enter_context(av.open(str(part), "w", format="mp4"))
        stream = container.add_stream("libx264", rate=rate.limit_denominator(10_000), options=dict(_QUALITY))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, _CLOCK)
        # Said in the file: players guess by the size of the frame otherwise.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        sound = None
        if sound_of is not None:
            source = stack.enter_context(open_video(sound_of))
            if source.streams.audio:
                try:
                    sound = _Sound(source, container)
                except (av.error.FFmpegError, ValueError) as error:
                    warnings.warn(f"{sound_of}: its sound cannot be kept ({error}).", stacklevel=3)
        writer = Mp4Writer(container, stream, sound)
        yield writer
        writer.finish()
