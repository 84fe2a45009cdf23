"""Reading and writing videos: rotation, times, sound, and files that are none."""

import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")

import av
import video_clips as clips

from hmr_jax.io.images import is_video
from hmr_jax.video import frames
from hmr_jax.video.frames import read_frames, read_info
from hmr_jax.video.mp4 import writing_mp4


def corner(image: np.ndarray) -> tuple[bool, bool]:
    """Whether the white mark is at the top, and whether it is on the left."""
    rows, columns = np.nonzero((image > 200).all(-1))
    return bool(rows.mean() < image.shape[0] / 2), bool(columns.mean() < image.shape[1] / 2)


def test_frames_and_times_are_those_that_were_written(tmp_path):
    times = [0.0, 0.04, 0.11, 0.12, 0.3, 0.35]
    images = [clips.draw(frame) for frame in range(6)]
    path = clips.write(tmp_path / "a.mp4", images, times)
    found = list(read_frames(path))
    np.testing.assert_allclose([frame.time for frame in found], times, atol=1e-4)
    for frame, image in zip(found, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4
    info = read_info(path)
    assert (info.width, info.height, info.frames, info.rotation, info.sound) == (160, 120, 6, 0, False)


@pytest.mark.parametrize(("turn", "size", "mark"), [
    (-90, (120, 160), (True, False)), (90, (120, 160), (False, True)), (180, (160, 120), (False, False)),
])  # fmt: skip
def test_videos_of_phones_are_turned_upright(tmp_path, turn, size, mark):
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV writes no rotation")
    path = clips.clip(tmp_path / "a.mp4", 3, rotation=turn)
    info = read_info(path)
    assert (info.width, info.height) == size
    assert info.rotation == -turn % 360
    first = next(read_frames(path)).image
    assert first.shape == (size[1], size[0], 3)
    assert corner(first) == mark


def test_reading_begins_where_it_is_asked_to(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", 10)
    whole, rest = list(read_frames(path)), list(read_frames(path, 7))
    assert [frame.time for frame in rest] == [frame.time for frame in whole[7:]]
    np.testing.assert_array_equal(rest[0].image, whole[7].image)


def test_pixels_that_are_not_square_become_square(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(clips.draw(0), format="rgb24")))
        container.mux(stream.encode(None))
    assert next(read_frames(path)).image.shape == (120, 240, 3)
    assert read_info(path).width == 240


@pytest.mark.parametrize(("file", "sound"), [("a.mp4", "aac"), ("a.mkv", "pcm_s16le"), ("a.ts", "aac")])
def test_sound_and_times_are_kept(tmp_path, file, sound):
    path = clips.clip(tmp_path / file, 24, sound=sound)
    target = tmp_path / "b.mp4"
    with writing_mp4(target, (160, 120), Fraction(24), path) as writer:
        times = [time for image, time in read_frames(path) if writer.write(image, time) is None]
    with av.open(str(target)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].codec_context.sample_rate
    assert 0.9 < len(heard) / rate < 1.2
    assert 0.2 < heard.std() / np.abs(heard).max() < 0.8
    np.testing.assert_allclose([frame.time for frame in read_frames(target)], times, atol=1e-3)


def test_colours_are_kept_and_said_in_the_file(tmp_path):
    image = np.full((64, 64, 3), (220, 40, 60), np.uint8)
    with writing_mp4(tmp_path / "b.mp4", (64, 64), Fraction(24)) as writer:
        writer.write(image, 0.0)
    assert np.abs(next(read_frames(tmp_path / "b.mp4")).image.astype(int) - image).max() < 6
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == 1


def test_odd_sizes_are_written_as_even_ones(tmp_path):
    with writing_mp4(tmp_path / "b.mp4", (31, 23), Fraction(24)) as writer:
        for number in range(3):
            writer.write(np.full((23, 31, 3), 90, np.uint8), number / 24)
    assert next(read_frames(tmp_path / "b.mp4")).image.shape == (22, 30, 3)


def test_a_video_is_written_completely_or_not_at_all(tmp_path):
    target = tmp_path / "b.mp4"
    target.write_bytes(b"old")

    def interrupted():
        with writing_mp4(target, (32, 32), Fraction(24)) as writer:
            writer.write(np.zeros((32, 32, 3), np.uint8), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]


def make_bad(path, kind):
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 50)
    elif kind == "folder":
        path.mkdir()
    elif kind == "image":
        from PIL import Image

        Image.fromarray(clips.draw(0)).save(path, "JPEG")
    elif kind == "sound":
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=44_100)
            stream.codec_context.layout = "mono"
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.int16), format="s16", layout="mono")
            tone.rate, tone.pts = 44_100, 0
            container.mux(stream.encode(tone))
            container.mux(stream.encode(None))
    elif kind == "end":  # without its table of contents
        whole = clips.clip(path.with_name("whole.mp4")).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "middle":  # with the table at the start
        noise = np.random.default_rng(0).integers(0, 255, (24, 120, 160, 3)).astype(np.uint8)
        plain = clips.write(path.with_name("plain.mp4"), list(noise))
        fast = path.with_name("fast.mp4")
        with av.open(str(plain)) as source, av.open(str(fast), "w", options={"movflags": "faststart"}) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        whole = fast.read_bytes()
        path.write_bytes(whole[: 2 * len(whole) // 3])


@pytest.mark.parametrize(("kind", "message"), [
    ("empty", "is empty"), ("text", "not a video"), ("folder", "not a file"), ("image", "is an image|not a video"),
    ("sound", "no video stream"), ("end", "cut off"), ("middle", "cut off"),
])  # fmt: skip
def test_files_that_are_no_videos_are_refused_in_one_sentence(tmp_path, kind, message):
    path = tmp_path / "bad.mp4"
    make_bad(path, kind)
    with pytest.raises(ValueError, match=message) as error:
        list(read_frames(path))
    assert "bad.mp4" in str(error.value)


def test_videos_are_told_from_images_by_their_names():
    names = ["a.mp4", "A.MOV", "b.webm", "a.jpg", "mp4", "a.gif", "a.mp4.png"]
    assert [is_video(name) for name in names] == [True, True, True, False, False, False, False]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        read_info(tmp_path / "nothing.mp4")


def test_damage_in_the_middle_is_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (24, 120, 160, 3)).astype(np.uint8)
    path = clips.write(tmp_path / "a.mkv", list(noise), codec="mpeg4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*damaged packets")
        assert len(list(read_frames(path))) > 10


def test_without_pyav_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'hmr_jax\[video\]'"):
        frames.read_info(tmp_path / "a.mp4")
