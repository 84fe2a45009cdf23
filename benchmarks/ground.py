"""How well people who stand tell the focal length: `python -m benchmarks.ground`.

Synthetic scenes: a camera with a lens of 24 to 60 mm (35 mm format) looks down on a floor, on which people stand up to
25 m away. Their lengths are known up to 10 %, as networks predict them; they lean; ankles and necks are seen up to 2 %
of their length in the image. A focal length is taken where `hmr_jax.inference.ground` would take it.

Shapes: N people.
"""

import argparse
from typing import NamedTuple

import numpy as np

from hmr_jax.geometry.cameras import project
from hmr_jax.geometry.intrinsics import DEFAULT_UNCERTAINTY, camera_of
from hmr_jax.geometry.standing import ground_of
from hmr_jax.inference.ground import SURE

SIZE = 1920, 1280
PITCHES = 5, 15, 25, 35, 50
COUNTS = 6, 12, 20
FARTHEST, NEAREST = 25.0, 2.0  # metres
LENGTH, SEEN = 0.1, 0.02  # relative errors
_SMALLEST = 60.0  # px of a person


class Scene(NamedTuple):
    """People of an image."""

    ankles: np.ndarray
    """(N, 2) px."""
    necks: np.ndarray
    """(N, 2) px."""
    lengths: np.ndarray
    """(N,) metres, with their errors."""
    focal_length: float
    """px"""
    up: np.ndarray
    """(3,) in camera axes."""


def scene(rng: np.random.Generator, count: int, pitch: float, lean: float, errors: bool = True) -> Scene | None:
    """A random scene, or None where so many people are not seen.

    Args:
        rng: source of everything random.
        count: of people.
        pitch: degrees by which the camera looks down.
        lean: degrees by which people lean in each direction, one standard deviation.
        errors: whether lengths and points have errors.
    """
    focal = rng.uniform(24, 60) / np.hypot(36, 24) * np.hypot(*SIZE)
    height = rng.uniform(1.4, 2.2) if pitch < 10 else rng.uniform(2, 6)
    tilt, roll = np.radians(pitch), np.radians(rng.normal(0, 2))
    up = np.array([np.sin(roll) * np.cos(tilt), -np.cos(roll) * np.cos(tilt), -np.sin(tilt)])
    ahead = np.cross(up, [1.0, 0, 0])
    right = np.cross(ahead, up)
    found: list[tuple[np.ndarray, float]] = []
    for _ in range(300 * count):
        ray = np.append((rng.uniform(-0.5, 0.5, 2) * SIZE) / focal, 1.0)
        if ray @ up > -0.02:
            continue
        ankles = -height / (ray @ up) * ray
        away = np.radians(rng.normal(0, lean, 2))
        axis, length = up + away[0] * right + away[1] * ahead, rng.normal(1.4, 0.08)
        neck = ankles + length * axis / np.linalg.norm(axis)
        if not NEAREST < np.linalg.norm(ankles) < FARTHEST or neck[2] < 0.3:
            continue
        seen = project(np.stack([ankles, neck])[None], np.zeros((1, 3)), np.full((1, 2), focal))[0]
        apparent = np.linalg.norm(seen[1] - seen[0])
        if (np.abs(seen) > np.array(SIZE) / 2).any() or apparent < _SMALLEST:
            continue
        if errors:
            seen, length = seen + rng.normal(0, SEEN * apparent, (2, 2)), length * np.exp(rng.normal(0, LENGTH))
        found.append((seen + np.array(SIZE) / 2, length))
        if len(found) == count:
            points = np.stack([seen for seen, _ in found])
            return Scene(points[:, 0], points[:, 1], np.array([length for _, length in found]), focal, up)
    return None


def main() -> None:
    """Prints a line for each lean, pitch and number of people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100, help="of each kind")
    options = parser.parse_args()
    default, center = camera_of(SIZE, None)
    rng, every = np.random.default_rng(0), {}
    for lean in (4.0, 6.0):
        for pitch in PITCHES:
            for count in COUNTS:
                made = [scene(rng, count, pitch, lean) for _ in range(options.scenes)]
                rows = []
                for one in made:
                    if one is not None:
                        found = ground_of(*one[:3], center, float(default[0]), DEFAULT_UNCERTAINTY)
                        assert found is not None
                        rows.append(
                            (np.log(np.array([found.focal_length, default[0]]) / one.focal_length), found.uncertainty)
                        )
                every[lean, pitch, count] = rows
                print(f"lean {lean:g}, {pitch} degrees down, {count} people: {described(rows)}", flush=True)
        rows = [row for key, rows in every.items() if key[0] == lean for row in rows]
        print(f"lean {lean:g}, all: {described(rows)}", flush=True)


def described(rows: list[tuple[np.ndarray, float]]) -> str:
    """How often and how well the focal length is told."""
    taken = [(abs(error), sigma) for error, sigma in rows if sigma <= SURE]
    share = f"{len(taken)} of {len(rows)} taken"
    if not taken:
        return share
    errors, sigma = np.stack([error for error, _ in taken]), np.array([sigma for _, sigma in taken])
    ours, default = np.median(errors, 0)
    within = [(errors[:, 0] < times * sigma).mean() for times in (1, 2)]
    nearer = (errors[:, 0] < errors[:, 1]).mean()
    return (f"{share}, median error {ours:.3f}, of the default {default:.3f}, nearer {nearer:.2f}; "
            f"within one and two standard deviations {within[0]:.2f}, {within[1]:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
