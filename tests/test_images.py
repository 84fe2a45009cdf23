"""Images of any mode become the RGB that they show, and files that cannot are named."""

import io
import struct
import sys
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hmr_jax.io.images import as_rgb, find_images, read_image, to_rgb

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4  # 0 to 252


def saved(path, image, **options):
    """The file as (H, W, 3) floats."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return read_image(path).astype(float)


def png(depth, color_type, rows, *chunks):
    """A PNG of raw rows, for what Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width = rows.shape[1]
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [chunk(b"IHDR", header), *(chunk(*one) for one in chunks), chunk(b"IDAT", zlib.compress(pixels))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", GREY.astype(np.uint16) * 257),
        ("a.tif", GREY.astype(np.uint16) * 257),
        ("a.tif", (GREY.astype(np.uint16) * 257).astype(">u2")),
        ("a.pgm", GREY.astype(np.uint16) * 257),
        ("a.jp2", GREY.astype(np.uint16) * 257),
        ("a.tif", GREY.astype(np.int32) * 257),
        ("a.tif", GREY.astype(np.int32)),
        ("a.tif", GREY.astype(np.float32) / 255),
        ("a.tif", GREY.astype(np.float32)),
    ],
    ids=str,
)
def test_grey_levels_of_more_than_8_bits_are_scaled(tmp_path, name, values):
    mode = "I;16B" if values.dtype == ">u2" else None
    image = Image.frombytes(mode, (8, 8), values.tobytes()) if mode else Image.fromarray(values)
    assert np.abs(saved(tmp_path / name, image) - GREY[..., None]).max() <= 1


def test_a_dark_image_of_16_bits_stays_dark(tmp_path):
    assert saved(tmp_path / "a.png", np.full((4, 4), 200, np.uint16)).max() == 1


def test_twelve_bits_and_a_white_zero_of_tiffs(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert np.abs(255 - read_image(tmp_path / "a.tif").astype(float) - GREY[..., None]).max() <= 1
    twelve = GREY.astype(np.uint16).ravel() * 16
    pairs = np.stack([twelve[::2] >> 4, (twelve[::2] & 15) << 4 | twelve[1::2] >> 8, twelve[1::2] & 255], -1)
    tags = [(256, 3, 8), (257, 3, 8), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1), (278, 3, 8)]
    tags.append((279, 4, 96))
    directory = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    (tmp_path / "b.tif").write_bytes(b"II*\0\x08\0\0\0" + directory + bytes(4) + pairs.astype(np.uint8).tobytes())
    assert np.abs(read_image(tmp_path / "b.tif").astype(float) - GREY[..., None]).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), np.nan, np.float32), np.float32([[0, -1]]), np.float32([[0, 3000]]), np.int32([[-5, 7]]),
        np.int32([[0, 2**24]]),
    ],
    ids=str,
)  # fmt: skip
def test_numbers_without_a_known_white_are_refused(tmp_path, values):
    with pytest.raises(ValueError, match=r"a\.tif has pixels .* save it with 8 or 16 bits"):
        saved(tmp_path / "a.tif", values)


MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "RGBX")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODES), st.integers(0, 2**32 - 1), st.booleans())
def test_every_mode_is_pillows_own_rgb(mode, seed, through_a_file):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    if mode in ("LAB", "HSV", "CMYK", "RGBX"):
        size = 4 if mode in ("CMYK", "RGBX") else 3
        image = Image.frombytes(mode, (7, 5), rng.bytes(35 * size))
    else:
        image = Image.fromarray(pixels).convert(mode)
    expected = np.asarray(image.convert("RGB")).astype(float)
    if through_a_file and mode not in ("HSV", "RGBX", "YCbCr"):
        file = io.BytesIO()
        image.save(file, "TIFF")
        image = Image.open(file)
    assert np.abs(to_rgb(image) - expected).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["LA", "PA", "RGBA", "La", "RGBa"]), st.integers(0, 2**32 - 1))
def test_transparent_pixels_show_white_and_not_their_hidden_colours(mode, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (5, 7, 4), np.uint8)
    if mode in ("LA", "La"):
        pixels[..., 1] = pixels[..., 2] = pixels[..., 0]
    alpha = pixels[..., 3:].astype(float) / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    image = Image.fromarray(pixels)
    if mode == "PA":
        image = Image.new("PA", (7, 5))
        palette = rng.integers(0, 256, (256, 3), np.uint8)
        image.putpalette(palette.tobytes())
        index = rng.integers(0, 256, (5, 7), np.uint8)
        image = Image.merge("LA", [Image.fromarray(index), Image.fromarray(pixels[..., 3])])
        image.putpalette(palette.tobytes())
        assert image.mode == "PA"
        expected = palette[index] * alpha + 255 * (1 - alpha)
    elif mode != "RGBA":
        image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    tolerance = 2 if mode in ("La", "RGBa") else 1  # premultiplied colours are rounded
    assert np.abs(to_rgb(image) - expected).max() <= tolerance


def test_a_transparent_colour_is_white_in_every_kind_of_png(tmp_path):
    def read(data):
        (tmp_path / "a.png").write_bytes(data)
        return read_image(tmp_path / "a.png")[0].tolist()

    grey, white = [18, 18, 18], [255, 255, 255]
    wide = np.array([[0x1234, 0x1200]], ">u2")
    assert read(png(16, 0, wide, (b"tRNS", b"\x12\x34"))) == [white, grey]
    assert read(png(8, 0, np.uint8([[7, 18]]), (b"tRNS", b"\0\x07"))) == [white, grey]
    colors = np.array([[[0x1234, 0x5678, 0x9ABC], [0x1200, 0x1200, 0x1200]]], ">u2")
    assert read(png(16, 2, colors, (b"tRNS", b"\x12\x34\x56\x78\x9a\xbc"))) == [white, grey]
    palette = (b"PLTE", bytes([9, 9, 9, 18, 18, 18])), (b"tRNS", b"\0\xff")
    assert read(png(8, 3, np.uint8([[0, 1]]), *palette)) == [white, grey]
    assert read(png(16, 4, np.array([[[0x1234, 0], [0x1234, 0xFFFF]]], ">u2"))) == [white, grey]


def test_images_are_turned_upright(tmp_path):
    corner = np.zeros((20, 40), np.uint8)
    corner[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the file's left edge
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        turned = saved(tmp_path / name, corner, exif=exif)
        assert turned.shape == (40, 20, 3)
        assert turned[0, -1, 0] > 200


def test_images_of_many_rows_are_whole_and_of_one_copy():
    pixels = np.random.default_rng(0).integers(0, 256, (700, 5, 3), np.uint8)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(to_rgb(image), pixels)
    assert as_rgb(image) is image


def test_exif_without_a_resolution_is_no_reason_to_refuse(tmp_path):
    exif = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 2)
    exif += struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 5, 1, 38) + bytes(4) + bytes(8)
    assert saved(tmp_path / "a.jpg", np.zeros((20, 40, 3), np.uint8), exif=b"Exif\0\0" + exif).shape == (40, 20, 3)


def test_files_that_are_no_images_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.jpg is not an image"):
        read_image(tmp_path / "a.jpg")
    Image.new("L", (40, 40)).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded: it is damaged or cut off"):
        read_image(tmp_path / "b.png")


def test_an_image_over_pillows_limit_is_too_large_and_not_damaged(tmp_path, monkeypatch):
    Image.new("1", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").shape == (300, 300, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30000)
    with pytest.raises(
        ValueError, match=r"a\.png is too large, shrink it first: Image size \(90000 pixels\)"
    ) as caught:
        read_image(tmp_path / "a.png")
    assert "damaged" not in str(caught.value)


def test_patterns_name_the_images_that_they_match(tmp_path):
    names = ["a.jpg", "b.JPG", "c.png", "notes.txt", "._a.jpg", "d/e.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    def found(*patterns):
        return [str(path.relative_to(tmp_path)) for path in find_images([tmp_path / pattern for pattern in patterns])]

    assert found("*.[jJ]*") == ["a.jpg", "b.JPG"]
    assert found("*") == ["a.jpg", "b.JPG", "c.png"]
    assert found("**/*.jpg", "a.jpg") == ["a.jpg", "d/e.jpg"]
    with pytest.raises(FileNotFoundError, match="no image or folder"):
        found("*.webp")


def test_photographs_of_phones_need_what_reads_them(tmp_path, monkeypatch):
    path = tmp_path / "a.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    assert find_images([tmp_path]) == [path]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"a\.HEIC is HEIF: pip install pillow-heif, or save it as JPEG"):
        read_image(path)
    opened = []
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: opened.append(1)))
    with pytest.raises(ValueError, match=r"a\.HEIC is not an image"):
        read_image(path)
    assert opened
