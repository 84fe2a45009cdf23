"""A folder as users have them: good images of every kind among sixty bad files, and a run that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

ROOT = Path(__file__).parents[1]
SIZE = 40, 50  # width and height


def noise(mode: str = "RGB") -> Image.Image:
    colors = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(colors[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(colors).convert(mode)


def write_good(folder: Path) -> list[str]:
    """Images that can be read, however odd; returns the names of their results."""
    for name, mode in {
        "grey.jpg": "L", "cmyk.jpg": "CMYK", "palette.png": "P", "bits16.png": "I;16", "one_bit.png": "1",
        "alpha.png": "RGBA", "float.tif": "F", "lab.tif": "LAB", "ycc.tif": "YCbCr", "noise.webp": "RGB",
        "plain.bmp": "RGB", "UPPER.JPG": "RGB", "two.dots.png": "RGB", "white space.png": "RGB", "-dash.png": "RGB",
        "percent%20.png": "RGB", "quote'.png": "RGB", "#hash.png": "RGB", "[bracket].png": "RGB",
    }.items():  # fmt: skip
        image = noise("L").point(lambda value: value / 255, "F") if mode == "F" else noise(mode)
        image.save(folder / name)
    noise().save(folder / "really_a_png.jpg", "PNG")
    noise("P").save(folder / "moving.webp", save_all=True, append_images=[noise("P").rotate(90)])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise().save(folder / "turned.jpg", exif=exif)
    noise().save(folder / "odd_orientation.jpg", exif=b"Exif\0\0" + b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20)
    noise().save(folder / "cut_exif.jpg", exif=b"Exif\0\0MM")
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 100_000, zip=True)
    noise().save(folder / "chatty.png", pnginfo=text)
    composed = unicodedata.normalize("NFC", "é")
    noise().save(folder / f"{composed}_composed.png")
    noise().save(folder / f"{unicodedata.normalize('NFD', composed)}_apart.png")
    noise().save(folder / f"{'n' * 200}.png")
    Image.open(folder / "grey.jpg").save(os.fsencode(folder) + b"/latin_\xe9.jpg")
    return sorted(os.fsdecode(Path(file).stem) for file in folder.iterdir())


def write_bad(folder: Path) -> list[str]:
    """Files with suffixes of images that are none; returns their names."""
    before = set(folder.iterdir())
    whole = {}
    for suffix in ("jpg", "png", "webp", "bmp", "tif"):
        path = folder / f"whole.{suffix}"
        noise().save(path)
        whole[suffix] = path.read_bytes()
        path.unlink()
    for suffix, data in whole.items():
        (folder / f"empty.{suffix}").touch()
        (folder / f"text.{suffix}").write_text("No image, but a note.\n")
        (folder / f"zeros.{suffix}").write_bytes(bytes(2000))
        (folder / f"page.{suffix}").write_text("<!doctype html><title>404</title>")
        for part in (3, 10, 30, len(data) // 2):
            (folder / f"cut_{part}.{suffix}").write_bytes(data[:part])
        (folder / f"header_{suffix}.{suffix}").write_bytes(data[:8] + bytes(range(256)) * 8)
        (folder / f"zip_{suffix}.{suffix}").write_bytes(b"PK\x03\x04" + bytes(300))
        (folder / f"pickle_{suffix}.{suffix}").write_bytes(b"\x80\x04cos\nsystem\n.")
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(folder / "nan.tif")
    Image.fromarray(np.full((9, 9), -5.0, np.float32)).save(folder / "negative.tif")
    Image.fromarray(np.full((9, 9), 1e6, np.float32)).save(folder / "too_bright.tif")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    noise().save(folder / f"{'n' * 247}.png")  # 251 bytes: no room for a result's ending
    return sorted(path.name for path in set(folder.iterdir()) - before)


@pytest.mark.slow
def test_every_good_image_is_predicted_and_every_bad_file_named(predict, tiny_checkpoint, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    good, bad = write_good(folder), write_bad(folder)
    assert len(bad) >= 60
    (folder / "folder.jpg").mkdir()
    (folder / "._hidden.jpg").write_bytes(b"notes of a file manager")
    (folder / "notes.txt").write_text("no image")
    code, lines, messages = predict(
        folder, "--boxes", "whole", "--checkpoint", tiny_checkpoint, "--only", "json", "--output", tmp_path / "out"
    )
    assert code == 2
    written = sorted(path.stem for path in (tmp_path / "out").iterdir())
    assert {unicodedata.normalize("NFC", name) for name in good} == {
        unicodedata.normalize("NFC", name) for name in written
    }
    assert len(lines) == len(good)
    told = {}
    for line in messages.splitlines():
        if match := re.search(r"images/(.+?\.(?:jpg|png|webp|bmp|tif))(?=[: ])(.*)", line):
            told.setdefault(match[1], []).append(match[2])
    assert sorted(told) == bad
    assert all(len(reasons) == 1 and len(reasons[0]) > 10 for reasons in told.values())
    assert f"({len(bad)} of {len(bad) + len(good)} images were left out)" in messages
    assert "Traceback" not in messages


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
def test_a_killed_run_leaves_nothing_half_written_and_goes_on(tiny_checkpoint, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(60):
        Image.new("RGB", SIZE, (number, 2 * number, 99)).save(folder / f"{number:02d}.png")
    command = [
        sys.executable, str(ROOT / "predict.py"), str(folder), "--boxes", "whole", "--checkpoint", str(tiny_checkpoint),
        "--only", "json,npz", "--output", str(out),
    ]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while len(list(out.glob("*.json")) if out.is_dir() else ()) < 5:
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert 5 <= len(kept) < 60
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert f"{len(kept):,} of 60 images were done before" in again.stderr
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert names == sorted(f"{number:02d}.{kind}" for number in range(60) for kind in ("json", "npz"))
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    for number in range(60):
        with np.load(out / f"{number:02d}.npz") as arrays:
            assert np.isfinite(arrays["vertices"]).all()
