"""What a camera at the computer sees: frame by frame, or recorded as a video that is then predicted like any other.

A camera is named "webcam:0" by its number, or "webcam:DEVICE" by what the system calls it; DEVICE may also be a file
or a pipe with a video.
"""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from hmr_jax.io.images import WEBCAM
from hmr_jax.video.frames import Frame, frames_of, import_av, rate_of, video_stream
from hmr_jax.video.mp4 import writing_mp4


class _Source(NamedTuple):
    """What FFmpeg opens."""

    file: str
    format: str | None
    """Of FFmpeg's devices; None: a file or a pipe."""


def record(camera: str | Path, output: Path, seconds: float = 0.0) -> Path:
    """Records a camera into an mp4 file, until the given time has passed, the camera ends, or Ctrl+C is pressed.

    Args:
        camera: "webcam:0", or another number or device.
        output: folder of the file; created if needed.
        seconds: that are recorded; 0: no limit.

    Returns:
        The file, webcam_0.mp4 or as the device is called.

    Raises:
        ValueError: there is no such camera, it cannot be read, or it shows nothing.
        ImportError: PyAV is not installed.
    """
    if not seconds >= 0:
        raise ValueError(f"{seconds} seconds cannot be recorded: give a number from 0 on.")
    device = _device(camera)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"webcam_{Path(device).stem}.mp4"
    with camera_frames(camera) as (frames, rate):
        first = next(frames)
        until = f"for {seconds:g} seconds" if seconds else "until Ctrl+C"
        print(f"Recording the camera {device} {until}.", file=sys.stderr, flush=True)
        with (
            writing_mp4(path, (first.image.shape[1], first.image.shape[0]), rate) as writer,
            contextlib.suppress(KeyboardInterrupt),
        ):
            for frame in itertools.chain([first], frames):
                if seconds and frame.time > seconds:
                    break
                writer.write(frame.image, frame.time)
    return path


@contextlib.contextmanager
def camera_frames(camera: str | Path) -> Iterator[tuple[Iterator[Frame], Fraction]]:
    """The frames of a camera, of which there is at least one, from 0 s on, and how many a second it says it takes.

    Args:
        camera: as for `record`.

    Raises:
        ValueError: there is no such camera, it cannot be read, or it shows nothing.
        ImportError: PyAV is not installed.
    """
    device = _device(camera)
    source = _source(device)
    with _opened(source, device) as container:
        stream = video_stream(container, Path(source.file))
        frames = (frame for frame in frames_of(container, stream, Path(source.file)) if frame is not None)
        first = next(frames, None)
        if first is None:
            raise ValueError(f"The camera {device} shows nothing: is another program using it?")
        every = itertools.chain([first], frames)
        yield (frame._replace(time=frame.time - first.time) for frame in every), rate_of(stream)


def _device(camera: str | Path) -> str:
    return str(camera).removeprefix(WEBCAM)


def _source(device: str) -> _Source:
    """What FFmpeg calls a device of this system; raises ValueError where a number says nothing."""
    if not device.isdecimal():
        is_camera = Path(device).is_char_device()
        return _Source(device, "v4l2" if is_camera else None)
    if sys.platform == "darwin":
        return _Source(device, "avfoundation")
    if sys.platform == "win32":
        raise ValueError(f"Cameras have names on Windows, not numbers such as {device}: record a file, and predict it.")
    return _Source(f"/dev/video{device}", "v4l2")


@contextlib.contextmanager
def _opened(source: _Source, device: str) -> Iterator[Any]:
    """A container of PyAV; raises ValueError where there is none."""
    av = import_av()
    try:
        container = av.open(source.file, format=source.format)
    except FileNotFoundError:
        raise ValueError(f"There is no camera {device} ({source.file}): connect one, or name another.") from None
    except PermissionError:
        raise ValueError(f"The camera {device} ({source.file}) may not be read by this user.") from None
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"The camera {device} ({source.file}) cannot be read: {reason}.") from None
    with container:
        yield container
