"""Upright crops: people are looked at as they are; who leans is looked at again in a crop turned along the trunk.

Encoders that find landmarks see most people upright in training, and err more on others. What the network says of a
turned crop is turned back.

Shapes: B crops, M landmarks.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import Prediction
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.geometry.upright import tilt
from hmr_jax.models.backbones.blazepose import HIPS, SHOULDERS

LOOKS = 3
"""Most often that a person is looked at: a large turn is found in two steps."""
SETTLED = 4.0
"""A person who leans by less than this in the last crop, in degrees, is not looked at again."""


def find_turns(look: Callable[[np.ndarray, np.ndarray], np.ndarray], starts: np.ndarray) -> np.ndarray:
    """The turns of crops in which people are upright.

    Args:
        look: from the numbers (b,) of some people and the turns (b,) of their crops to landmarks (b, M, 2 or more) in
            crop coordinates.
        starts: (B,) degrees of the first crops.

    Returns:
        (B,) degrees in (-180, 180] by which each square is turned clockwise in the crop that was looked at last.
    """
    turns, leaning = np.array(starts, np.float64), np.arange(len(starts))
    for number in range(LOOKS):
        landmarks = look(leaning, turns[leaning])
        if number == LOOKS - 1:
            break
        change = tilt(landmarks[:, HIPS], landmarks[:, SHOULDERS])
        far = np.abs(change) > SETTLED
        leaning = leaning[far]
        if not len(leaning):
            break
        turns[leaning] = -((180 - turns[leaning] - change[far]) % 360 - 180)
    return turns


def look_upright(
    cut: Callable[[int, float], np.ndarray], encode: Callable[[np.ndarray], dict[str, np.ndarray]], starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Crops in which people are upright, and what the encoder says of them.

    Turns are whole degrees: the crops, and so the predictions, are the same where landmarks differ by an error of
    rounding, as they do between sizes of batches.

    Args:
        cut: from the number of a person and the turn of the square in degrees to the crop (S, S, 3).
        encode: from crops (b, S, S, 3) to arrays (b, ...), of which "landmarks" is one.
        starts: (B,) degrees of the first crops.

    Returns:
        The turns (B,) in whole degrees, the crops (B, S, S, 3) and the arrays (B, ...).
    """
    count = len(starts)
    crops: dict[int, np.ndarray] = {}
    encoded: dict[str, np.ndarray] = {}

    def look(numbers: np.ndarray, turns: np.ndarray) -> np.ndarray:
        for number, turn in zip(numbers.tolist(), np.rint(turns).tolist(), strict=True):
            crops[number] = cut(number, turn)
        for name, array in encode(np.stack([crops[number] for number in numbers.tolist()])).items():
            encoded.setdefault(name, np.empty((count, *array.shape[1:]), array.dtype))[numbers] = array
        return encoded["landmarks"][numbers]

    turns = np.rint(find_turns(look, starts))
    return turns, np.stack([crops[number] for number in range(count)]), encoded


def turn_back(prediction: Prediction, degrees: jax.Array) -> Prediction:
    """A prediction for turned crops, (B,) degrees clockwise, in the camera of the image.

    "camera" becomes that of a crop that is not turned. What is in crop coordinates stays in those of the turned crop.
    """
    rotation = axis_angle_to_matrix(jnp.radians(degrees)[:, None] * jnp.array([0.0, 0.0, 1.0]))

    def points(array: jax.Array | None) -> jax.Array | None:
        return None if array is None else jnp.einsum("bij,bnj->bni", rotation, array)

    shift = jnp.einsum("bij,bj->bi", rotation[:, :2, :2], prediction.camera[:, 1:])
    return prediction.replace(  # type: ignore[attr-defined]
        global_orient=jnp.einsum("bij,bnjk->bnik", rotation, prediction.global_orient),
        camera=jnp.concatenate([prediction.camera[:, :1], shift], 1),
        joints=points(prediction.joints),
        keypoints_3d=points(prediction.keypoints_3d),
        vertices=points(prediction.vertices),
    )
