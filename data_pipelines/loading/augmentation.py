"""Which augmentation an example gets: HMR2.0's rules, drawn as a pure function of (seed, example number).

Each augmentation has a random stream of its own: switching one off, or changing its strength, leaves the draws of all
others as they are. What is drawn here is applied by `data_pipelines.loading.crops`.

Shapes: B examples. Boxes and keypoints are in px of the stored image.
"""

from dataclasses import dataclass

import numpy as np

from data_pipelines.random_streams import Draws
from hmr_jax.config import AugmentConfig


@dataclass(frozen=True)
class Augmentation:
    """What happens to B examples."""

    scale: np.ndarray
    """(B,) factor on the side of the box."""
    rotation: np.ndarray
    """(B,) degrees by which the box is rotated clockwise in the image; its content is rotated the other way."""
    upright: np.ndarray
    """(B,) bool, turn the box along the person's trunk; `rotation` comes on top."""
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
    no = zero.astype(bool)
    return Augmentation(one, zero, no, np.zeros((count, 2)), no, np.ones((count, 3)), np.full(count, np.nan))


def draw(config: AugmentConfig, seed: int, numbers: np.ndarray) -> Augmentation:
    """Draws the augmentation of examples by the rules of 4D-Humans' training.

    Args:
        config: strengths and probabilities.
        seed: of the run.
        numbers: (B,) numbers of the examples in the stream.
    """

    def stream(name: str) -> Draws:
        return Draws(seed, numbers, name, block=4)

    rotation, crop = stream("rotation"), stream("extreme_crop")
    rotated = rotation.happens(config.rotation_probability)
    cropped = crop.happens(config.extreme_crop_probability)
    return Augmentation(
        scale=1 + config.scale * stream("scale").normal(clip=1),
        rotation=np.where(rotated, config.rotation * rotation.normal(clip=2), 0.0),
        upright=stream("upright").happens(config.upright_probability),
        shift=config.shift * stream("shift").normal(shape=(2,), clip=1),
        flip=stream("flip").happens(config.flip_probability),
        gain=stream("color").uniform(1 - config.color, 1 + config.color, shape=(3,)),
        part=np.where(cropped, crop.uniform(), np.nan),
    )


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
    """The box of one part of the body, or None where too little of the person is visible.

    Args:
        keypoints_2d: (44, 3) px and confidence.
        part: in [0, 1), chooses among the parts that the visible body allows.

    Returns:
        Centre (2,) and side of the new box, px.
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
