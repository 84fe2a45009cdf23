"""The frames of a video, one after the other, as they are meant to be seen: upright, with square pixels, in RGB.

Shapes: H, W the upright frame.
"""

import itertools
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

_MICROSECONDS = 1_000_000  # of a container's clock


class Frame(NamedTuple):
    """A frame."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    time: float
    """Seconds from the start of the file's clock at which it is shown; increases from frame to frame."""


class VideoInfo(NamedTuple):
    """What is known of a video before its frames are decoded."""

    width: int
    """Of an upright frame, px."""
    height: int
    """Of an upright frame, px."""
    rate: Fraction
    """Frames per second, the mean where the rate varies."""
    frames: int
    """Number of frames as the file states it or as its duration gives it; 0: unknown."""
    rotation: int
    """Degrees by which stored frames are turned clockwise to be upright: 0, 90, 180 or 270."""
    sound: bool
    """Whether there is a sound track."""


def import_av() -> ModuleType:
    """PyAV, which decodes and encodes; ImportError with what to do where it is missing."""
    try:
        import av
    except ImportError:
        raise ImportError("Videos need PyAV, which is not installed: pip install 'hmr_jax[video]'.") from None
    return av


def open_video(path: Path) -> Any:
    """Opens a file as a container of PyAV; the caller closes it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as a video.
        ImportError: PyAV is not installed.
    """
    av = import_av()
    if not path.exists():
        raise FileNotFoundError(f"There is no video {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty.")
    try:
        # PyAV 19 replaces what is no UTF-8 in titles and the like by itself, and knows no such argument any more.
        strict = int(av.__version__.partition(".")[0]) < 19
        return av.open(str(path), **({"metadata_errors": "replace"} if strict else {}))
    except PermissionError:
        raise ValueError(f"{path} may not be read.") from None
    except (av.error.FFmpegError, UnicodeError, ValueError, OSError):
        raise ValueError(f"{path} is not a video that can be read, or it is cut off.") from None


def start_of(container: Any) -> float:
    """Seconds on a container's clock at which it starts."""
    return (container.start_time or 0) / _MICROSECONDS


def video_stream(container: Any, path: Path) -> Any:
    """The stream of moving images of a container; raises ValueError if there is none."""
    av = import_av()
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        raise ValueError(f"{path} is an image, not a video.")
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a record
            if stream.codec_context is None or not stream.codec_context.width:
                break
            return stream
    raise ValueError(f"{path} has no video stream that can be decoded.")


def read_info(path: str | Path) -> VideoInfo:
    """What is known of a video; the first frame is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or it is cut off.
        ImportError: PyAV is not installed.
    """
    path = Path(path)
    with open_video(path) as container:
        stream = video_stream(container, path)
        _check_complete(stream, path)
        rate = rate_of(stream)
        frames = stream.frames
        if not frames and container.duration:
            frames = round(container.duration / _MICROSECONDS * rate)
        sound = bool(container.streams.audio)
        frame = next(_decoded(container, stream, path), None)
        if frame is None:
            raise ValueError(f"{path} has no frame that can be decoded.")
        height, width = _upright(frame, _shown_size(frame, stream)).shape[:2]
        return VideoInfo(width, height, rate, frames, _rotation(frame), sound)


def read_frames(path: str | Path, start: int = 0) -> Iterator[Frame]:
    """The frames of a video, in the order in which they are shown; one is in memory at a time.

    Damaged packets are left out with a warning. Frames whose size differs from that of the first are resized to it.

    Args:
        path: of the video.
        start: number of the first frame that is wanted; those before are decoded, but not converted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or ends before it should; the latter when its last frame has been read.
        ImportError: PyAV is not installed.
    """
    path = Path(path)
    with open_video(path) as container:
        stream = video_stream(container, path)
        checked = _check_complete(stream, path)
        stream.thread_type = "AUTO"
        count = 0
        for frame in frames_of(container, stream, path, start):
            count += 1
            if frame is not None:
                yield frame
        if not count:
            raise ValueError(f"{path} has no frame that can be decoded.")
        if not checked and count < 0.9 * stream.frames - 2:
            raise ValueError(f"{path} is cut off: of its {stream.frames} frames, {count} are there.")


def frames_of(container: Any, stream: Any, path: Path, start: int = 0) -> Iterator[Frame | None]:
    """The frames of an open container, as `read_frames` gives them; None for those before `start`."""
    step, offset = float(1 / rate_of(stream)), start_of(container)
    last = -np.inf
    size: tuple[int, int] | None = None
    for count, frame in enumerate(_decoded(container, stream, path), 1):
        time = last + step if frame.time is None else frame.time - offset
        if not np.isfinite(time):
            time = 0.0
        last = time if time > last else last + step / 100  # no two frames at once
        size = size or _shown_size(frame, stream)
        yield Frame(_upright(frame, size), last) if count > start else None


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Frames of PyAV; damaged packets are left out."""
    av = import_av()
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            damaged += 1
            break
        if packet is None:
            break
        try:
            yield from packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError:
            damaged += 1
    if damaged:
        warnings.warn(f"{path}: {damaged} damaged packets were left out.", stacklevel=3)


def _check_complete(stream: Any, path: Path) -> bool:
    """Whether the file has a table of contents; raises ValueError if it ends before the last frame of the table."""
    entries = getattr(stream, "index_entries", None) or ()
    end = max((entry.pos + entry.size for entry in itertools.islice(reversed(entries), 100)), default=0)
    if end > path.stat().st_size:
        raise ValueError(f"{path} is cut off: it should have {end} bytes or more, and has {path.stat().st_size}.")
    return end > 0


def rate_of(stream: Any) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return Fraction(rate) if rate and 0 < rate < 100_000 else Fraction(30)


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """a, b, c, d of a frame's display matrix: x' = a x + c y and y' = b x + d y, without translation."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    numbers = np.frombuffer(bytes(data), np.int32)
    return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])


def _rotation(frame: Any) -> int:
    a, b, _, _ = _matrix(frame)
    return round(np.degrees(np.arctan2(b, a)) / 90) * 90 % 360


def _shown_size(frame: Any, stream: Any) -> tuple[int, int]:
    """Width and height of a frame with square pixels, before it is turned."""
    aspect = stream.sample_aspect_ratio
    return max(round(frame.width * (aspect if aspect and 0.1 < aspect < 10 else 1)), 1), frame.height


def _upright(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """A frame of PyAV as (H, W, 3) uint8 RGB, upright, after it is resized to a width and height."""
    image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    a, b, c, d = _matrix(frame)
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    image = image[:, ::-1] if a < 0 else image
    image = image[::-1] if d < 0 else image
    return np.ascontiguousarray(image)
