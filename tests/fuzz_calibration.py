"""Fuzzes the readers of calibration files: changed numbers and names, bytes that are cut out, repeated and replaced.

    python tests/fuzz_calibration.py --minutes 10

Whatever is in a file, the result is cameras that a lens, a rotation and a position can be of, or one sentence.
tests/test_calibration.py runs a bounded number of the same examples.
"""

import random
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from calibration_files import easymocap, opencv_json, opencv_yaml, qca, toml
from fuzz_loop import answer, run_for_minutes
from ring import cameras

from hmr_jax.io.calibration import read_calibration

SEEDS = {
    "qualisys": qca(cameras()), "pose2sim": toml(cameras()), "opencv yaml": opencv_yaml(cameras()[0]),
    "opencv json": opencv_json(cameras()),
    "easymocap": easymocap(cameras())[0] + easymocap(cameras())[1].split('"cam3"\n')[1],  # both in one file
}  # fmt: skip
VALUES = (
    "nan", "inf", "-inf", "1e400", "1e308", "-1", "0", "", "null", "true", "[]", "{}", '"a"', "1e-300", "99999999999",
    ".Nan", "~", "[1, 2]", "0x10", "1_000", "- 3", "'", '"', "#", ":", "]", "\t", "\x00", "é",
)  # fmt: skip


def example(kind: str, seed: int) -> bytes:
    """A changed file of a kind."""
    rng = random.Random(f"{kind} {seed}")
    text = SEEDS[kind]
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(re.finditer(r"-?\d+\.?\d*(e-?\d+)?|[A-Za-z_]\w*", text))
        place = rng.choice(found) if found else None
        if place is not None and rng.random() < 0.8:
            other = rng.choice(found)[0]
            near = (f"{place[0]}{rng.randrange(10)}", f"-{place[0]}", other)
            by = rng.choice(near if rng.random() < 0.5 else VALUES)
            text = text[: place.start()] + by + text[place.end() :]
        else:
            lines = text.splitlines(keepends=True) or [""]
            line = rng.randrange(len(lines))
            lines[line : line + 1] = rng.choice(([], lines[line : line + 1] * 2, [f"  {lines[line]}"]))
            text = "".join(lines)
    data = bytearray(text.encode())
    if data and rng.random() < 0.3:
        start = rng.randrange(len(data))
        data[start : start + rng.choice((1, 5, len(data)))] = rng.randbytes(rng.choice((0, 0, 1, 4)))
    return bytes(data)


def one(kind: str, seed: int) -> bool:
    """Checks an example; whether it had cameras."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration"
        path.write_bytes(example(kind, seed))
        found, message = answer(kind, seed, lambda: read_calibration(path))
    if found is None:
        assert "calibration" in message, (kind, seed, message)
        return False
    for camera in found:
        numbers = [camera.intrinsics, camera.rotation, camera.translation]
        numbers += [] if camera.lens is None else [camera.lens.coefficients]
        assert all(np.isfinite(part).all() for part in numbers), (kind, seed)
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9, err_msg=f"{kind} {seed}")
        assert camera.intrinsics[0, 0] > 0, (kind, seed)
        rays, inside = camera.rays(camera.intrinsics[None, :2, 2])
        assert inside.all(), (kind, seed)
        assert np.isfinite(rays).all(), (kind, seed)
    return True


if __name__ == "__main__":
    run_for_minutes(__doc__, SEEDS, one)
