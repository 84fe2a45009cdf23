"""Fuzzes what users give to predictions: image files, boxes, intrinsics and images in memory.

    python tests/fuzz_inputs.py --minutes 10

Whatever is given, the answer is a ValueError of one sentence, or a result of the promised shape and range that equals
a slow computation of it. tests/test_fuzz_inputs.py runs a bounded number of the same examples.
"""

import io
import json
import math
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import mutate
from fuzz_loop import answer, run_for_minutes

from hmr_jax.geometry.boxes import LARGEST, SMALLEST, as_boxes, check_box, square_box
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.geometry.distortion import distort, invert
from hmr_jax.geometry.intrinsics import camera_of, image_camera, intrinsics_of_each
from hmr_jax.inference.given import read_boxes
from hmr_jax.inference.inputs import image_list
from hmr_jax.io.images import read_image

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_inputs_")  # until the process ends
FOLDER = Path(_KEPT.name)
FORMATS = {
    "png": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"), "jpg": ("L", "RGB", "CMYK"), "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"), "gif": ("P",), "jp2": ("L", "RGB", "RGBA"),
    "tif": ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "F", "I;16", "I;16B", "LA"),
}  # fmt: skip
NUMBERS = (
    0,
    1,
    -1,
    0.5,
    1e-3,
    1.0001,
    2,
    31,
    32,
    64,
    100,
    640,
    1e4,
    1e7,
    2e8,
    1e38,
    1e300,
    math.inf,
    -math.inf,
    math.nan,
)
JUNK = (None, "", "a", "1", True, [], {}, [[]], [1, [2]], b"x", 1j, object())


def image_file(rng: random.Random) -> tuple[str, bytes]:
    """A small image of any mode, sometimes with an orientation, sometimes damaged."""
    suffix = rng.choice(sorted(FORMATS))
    mode = rng.choice(FORMATS[suffix])
    noise = np.random.default_rng(rng.randrange(2**32))
    width, height = rng.randint(1, 12), rng.randint(1, 12)
    if mode in ("I", "F"):
        scale = rng.choice((1, 255, 65535, 1e9, -3, math.nan))
        values = noise.random((height, width)) * scale
        image = Image.fromarray(np.nan_to_num(values).astype(np.int32) if mode == "I" else values.astype(np.float32))
    elif mode in ("1", "P", "LA", "LAB"):
        image = Image.fromarray(noise.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
    else:
        size = {"L": 1, "I;16": 2, "I;16B": 2, "RGB": 3}.get(mode, 4)
        image = Image.frombytes(mode, (width, height), noise.bytes(width * height * size))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = rng.randint(0, 9)
    kind = {"jpg": "JPEG", "jp2": "JPEG2000", "tif": "TIFF"}.get(suffix, suffix.upper())
    options: dict[str, Any] = {"exif": exif} if suffix not in ("bmp", "gif", "jp2") and rng.random() < 0.5 else {}
    if suffix == "tif" and not options and mode not in ("F", "LA") and rng.random() < 0.5:
        options["compression"] = rng.choice(("tiff_lzw", "tiff_adobe_deflate"))
    if suffix in ("png", "gif") and mode in ("P", "L") and rng.random() < 0.5:
        options["transparency"] = rng.randrange(256)
    image.save(file, kind, **options)
    data = file.getvalue()
    return suffix, mutate(data, rng) if rng.random() < 0.7 else data


def check_image(rng: random.Random) -> None:
    suffix, data = image_file(rng)
    path = FOLDER / f"image.{suffix}"
    path.write_bytes(data)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3


def number(rng: random.Random) -> Any:
    return rng.choice(NUMBERS) if rng.random() < 0.4 else rng.uniform(-50, 700)


def anything(rng: random.Random, depth: int = 0) -> Any:
    """Rows of numbers, ragged or with junk now and then, as lists or arrays."""
    if rng.random() < 0.03:
        return rng.choice(JUNK)
    columns = rng.choice((4, 4, 4, 3, 5, 6, 8, 9))
    rows = [[number(rng) for _ in range(columns)] for _ in range(rng.choice((0, 1, 2, 3, 4)))]
    if rows and rng.random() < 0.1:
        rng.choice(rows).pop()
    if rows and rng.random() < 0.1:
        rng.choice(rows)[0] = rng.choice(JUNK)
    if rows and rng.random() < 0.2:
        rows = rows[0]  # type: ignore[assignment]
    if depth < 2 and rng.random() < 0.1:
        return [anything(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return rows


def check_boxes(rng: random.Random) -> None:
    rows, size = anything(rng), (rng.randint(1, 800), rng.randint(1, 800))
    source = rows
    if rng.random() < 0.3:
        try:
            text = json.dumps({"a.png": rows})
        except TypeError:
            return
        (FOLDER / "boxes.json").write_text(text)
        (boxes,) = read_boxes(str(FOLDER / "boxes.json"), [Path("a.png")])
        source = json.loads(text)["a.png"]
    else:
        boxes = as_boxes(rows)
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    np.testing.assert_array_equal(boxes.ravel(), np.array(source, np.float64).ravel())
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    for box in boxes:
        check_box(box, size)
        sides = box[2:] - box[:2]
        assert sides.min() >= SMALLEST
        assert sides.max() <= LARGEST * max(size)
        center, side = square_box(box)
        start = time.time()
        crop = extract_crop(image, center, side, 32)
        assert time.time() - start < 5
        # A pixel whose neighbours are all inside the image is grey as the image, one far outside black.
        steps = (np.arange(32) - 16) * (side / 32)
        inside = [(c + steps >= 0) & (c + steps <= n - 1) for c, n in zip(center, size, strict=True)]
        outside = [(c + steps <= -1) | (c + steps >= n) for c, n in zip(center, size, strict=True)]
        assert (crop[np.ix_(inside[1], inside[0])] == 200).all()
        assert not crop[outside[1]].any()
        assert not crop[:, outside[0]].any()


def check_intrinsics(rng: random.Random) -> None:
    size = rng.randint(8, 2000), rng.randint(8, 2000)
    f, x, y = rng.uniform(0.5, 3) * max(size), rng.uniform(0, 1) * size[0], rng.uniform(0, 1) * size[1]
    matrix = np.array([[f, 0, x], [0, f * rng.uniform(0.9, 1.1), y], [0, 0, 1]])
    given: Any = matrix
    change = rng.randrange(8)
    if change == 0:
        matrix[rng.randrange(3), rng.randrange(3)] = number(rng)
    elif change == 1:
        given = matrix.T
    elif change == 2:
        given = anything(rng)
    elif change == 3:
        given = matrix[rng.choice((None, slice(2), slice(3)))]
    elif change == 4:
        given = [matrix[0, 0], matrix[1, 1], x, y]
    elif change == 5:
        given = matrix / [[size[0]], [size[1]], [1]]
    for one in intrinsics_of_each(given, rng.randint(1, 3)):
        focal, center = camera_of(size, one, 5000.0)
        if one is None:
            continue
        numbers = np.asarray(one, np.float64).reshape(-1)
        wanted = numbers[[0, 4, 2, 5]] if numbers.size == 9 else numbers
        np.testing.assert_allclose([*focal, *center], wanted, rtol=1e-6)
        assert numbers.size == 4 or abs(numbers[1]) <= 1e-3 * focal[0]
        assert max(size) / 10 <= focal.min() * 1.00001


def check_lens(rng: random.Random) -> None:
    size = rng.randint(8, 2000), rng.randint(8, 2000)
    focal = rng.uniform(0.5, 3) * max(size)
    count = rng.choice((4, 4, 5, 5, 8, 12, 14, rng.randint(0, 15)))
    given: Any = {
        rng.choice(("matrix", "intrinsics")): [focal, focal, rng.uniform(0, 1) * size[0], rng.uniform(0, 1) * size[1]],
        "distortion": [rng.gauss(0, 0.1) for _ in range(min(count, 12))] + [0.0] * (count - 12),
        "fisheye": rng.random() < 0.3,
    }
    if rng.random() < 0.4:
        given[rng.choice((*given, "x"))] = rng.choice((number(rng), anything(rng), [number(rng)] * 5))
    (each,) = intrinsics_of_each(given, 1)
    camera = image_camera(size, each)
    if camera.lens is None:
        return
    middle = np.array([size]) / 2
    ideal, inside = invert((middle - camera.principal_point) / camera.focal_length, *camera.lens)
    shown = distort(ideal, *camera.lens) * camera.focal_length + camera.principal_point
    assert np.isfinite(shown).all()
    if inside.all():
        np.testing.assert_allclose(shown, middle, atol=1e-3 * max(size))


def check_memory(rng: random.Random) -> None:
    shape = tuple(rng.choice((0, 1, 2, 3, 3, 4, 9, 12)) for _ in range(rng.choice((1, 2, 3, 3, 3, 4, 5))))
    dtype = rng.choice((np.uint8, np.uint8, np.uint8, np.uint16, np.float32, bool, np.int64))
    array = np.zeros(shape, dtype)
    given: Any = rng.choice((array, [array], [array, np.zeros((3, 5, 3), np.uint8)], (array,), *JUNK[:9]))
    for image in image_list(given):
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.size


CHECKS = {"image": check_image, "boxes": check_boxes, "intrinsics": check_intrinsics, "lens": check_lens,
          "memory": check_memory}  # fmt: skip


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there was a result rather than an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return not answer(kind, seed, lambda: CHECKS[kind](random.Random(seed)))[1]


def main() -> None:
    run_for_minutes(__doc__, CHECKS, one)


if __name__ == "__main__":
    main()
