"""Which augmentation an example gets: HMR2.0's rules, drawn as a pure function of (seed, example number).

Each augmentation has a random stream of its own: switching one off, or changing its strength, leaves the draws of all
others as they are. What is drawn here is applied by `data_pipelines.loading.crops`.

B examples; boxes and keypoints in px of the stored image.
"""

from dataclasses import dataclass

import numpy as np

from hmr_jax.config import AugmentConfig

STREAMS = ("scale", "rotation", "shift", "flip", "color", "extreme_crop")


@dataclass(frozen=True)
class Augmentation:
    """What happens to B examples."""

    scale: np.ndarray
    """(B,) factor on the side of the box."""
    rotation: np.ndarray
    """(B,) degrees by which the box turns clockwise in the image, so its content turns the other way."""
    shift: np.ndarray
    """(B, 2) of the box, in units of its side."""
    flip: np.ndarray
    """(B,) bool, mirror left and right."""
    gain: np.ndarray
    """(B, 3) factor on red, green and blue."""
    part: np.ndarray
    """(B,) in [0, 1): which part of the body an extreme crop keeps; NaN: no extreme crop."""


def identity(count: int) -> Augmentation:
    """No change, for evaluation."""
    one, zero = np.ones(count), np.zeros(count)
    return Augmentation(one, zero, np.zeros((count, 2)), zero.astype(bool), np.ones((count, 3)), np.full(count, np.nan))


def draw(config: AugmentConfig, seed: int, numbers: np.ndarray) -> Augmentation:
    """Draws the augmentation of examples (4D-Humans' training rules; the shift is drawn always, as there).

    Args:
        config: Strengths and probabilities.
        seed: Of the run.
        numbers: (B,) numbers of the examples in the stream.
    """

    def uniform(stream: str, count: int) -> np.ndarray:
        return _uniform(seed, STREAMS.index(stream), numbers, count)

    turned, *normal = uniform("rotation", 3).T
    extreme, part = uniform("extreme_crop", 2).T
    return Augmentation(
        scale=1 + config.scale * np.clip(_normal(*uniform("scale", 2).T), -1, 1),
        rotation=np.where(
            turned < config.rotation_probability, config.rotation * np.clip(_normal(*normal), -2, 2), 0.0
        ),
        shift=config.shift * np.clip(_normal(*uniform("shift", 4).reshape(-1, 2, 2).T).T, -1, 1),
        flip=uniform("flip", 1)[:, 0] < config.flip_probability,
        gain=1 + config.color * (2 * uniform("color", 3) - 1),
        part=np.where(extreme < config.extreme_crop_probability, part, np.nan),
    )


def _uniform(seed: int, stream: int, numbers: np.ndarray, count: int) -> np.ndarray:
    """(B, count) uniform in [0, 1): a hash of (seed, stream, number, column), with SplitMix64's mixing function."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        state = _mix(_mix(np.full(1, seed + 1, np.uint64)) + np.uint64(stream))  # + 1: zero hashes to itself
        state = _mix(state ^ np.asarray(numbers).astype(np.uint64))[:, None]
        bits = _mix(state + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _normal(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Standard normals from two uniforms (Box and Muller)."""
    return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)


# Extreme crops (4D-Humans, level 1). A slot is a row of the 44 keypoints: OpenPose's 25, then 19 more.
def _slots(openpose: tuple[int, ...], extra: tuple[int, ...]) -> np.ndarray:
    return np.array([*openpose, *(25 + i for i in extra)])


_LEGS_BELOW_HIPS = _slots((10, 11, 13, 14, 19, 20, 21, 22, 23, 24), (0, 1, 4, 5))
KEPT = {  # part: the slots that span the new box, and the factor on it
    "hips": (np.setdiff1d(np.arange(44), _LEGS_BELOW_HIPS), 1.1),
    "shoulders": (_slots((0, 1, 2, 5, 15, 16, 17, 18), (8, 9, 12, 13, 17, 18)), 1.2),
    "head": (_slots((0, 1, 2, 5, 15, 16, 17, 18), (12, 13, 17, 18)), 1.3),
    "torso": (_slots((1, 2, 5, 8, 9, 12), (2, 3, 8, 9, 12, 14, 15, 16)), 1.1),
    "right_arm": (_slots((2, 3, 4), (6, 7, 8)), 1.1),
    "left_arm": (_slots((5, 6, 7), (9, 10, 11)), 1.1),
    "legs": (_slots((8, 9, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24), (0, 1, 2, 3, 4, 5, 14)), 1.1),
    "right_leg": (_slots((9, 10, 11, 22, 23, 24), (0, 1, 2)), 1.1),
    "left_leg": (_slots((12, 13, 14, 19, 20, 21), (3, 4, 5)), 1.1),
}
FULL_BODY_PARTS = ("hips", "hips", *list(KEPT)[1:])  # ten equal shares: the hips have two
UPPER_BODY_PARTS = ("shoulders", "head", "torso", "right_arm", "left_arm")
# Shoulders, elbows, wrists, knees, ankles, right then left: the OpenPose slot and the extra slot of each.
_LIMBS = np.array([(2, 33), (5, 34), (3, 32), (6, 35), (4, 31), (7, 36), (10, 26), (13, 29), (11, 25), (14, 30)])
_KNEES_AND_ANKLES = _LIMBS[6:].ravel()
MIN_SIDE = 4.0  # px; a smaller extreme crop is not made


def extreme_crop(keypoints_2d: np.ndarray, part: float) -> tuple[np.ndarray, float] | None:
    """The box of one part of the body, or None where the person does not show enough of it.

    Args:
        keypoints_2d: (44, 3) px and confidence.
        part: In [0, 1), chooses among the parts that the visible body allows.

    Returns:
        (2,) centre and the side of the new box, px.
    """
    confidence = keypoints_2d[:, 2]
    if (confidence[_LIMBS] > 0).any(1).all():
        name = FULL_BODY_PARTS[int(part * 10)]
    elif not (confidence[_KNEES_AND_ANKLES] > 0).any() and (confidence[KEPT["shoulders"][0]] > 0).sum() >= 2:
        name = UPPER_BODY_PARTS[int(part * 5)]
    else:
        return None
    slots, factor = KEPT[name]
    kept = keypoints_2d[slots]
    if kept[:, 2].sum() <= 1:
        return None
    points = kept[kept[:, 2] > 0, :2]
    low, high = points.min(0), points.max(0)
    side = 1.2 * factor * float((high - low).max())
    return ((low + high) / 2, side) if side >= MIN_SIDE else None
