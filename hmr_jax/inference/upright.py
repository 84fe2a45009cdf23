"""Upright crops: people are looked at twice, first as they are, then in a crop that is turned along their trunk.

Encoders that find landmarks see most people upright in training, and err more on others. What the network says of a
turned crop is turned back.

Shapes: B crops, M landmarks.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import Prediction
from hmr_jax.geometry.upright import tilt
from hmr_jax.models.backbones.blazepose import HIPS, SHOULDERS

LOOKS = 2
"""Most often that a person is looked at before the last crop: a large turn is found in two steps."""
SETTLED = 15.0
"""A turn that changed by less than this, in degrees, is not looked at again."""


def find_turns(look: Callable[[np.ndarray, np.ndarray], np.ndarray], count: int) -> np.ndarray:
    """The turns of crops after which people are upright.

    Args:
        look: from the numbers (b,) of some people and the turns (b,) of their crops to landmarks (b, M, 2 or more) in
            crop coordinates.
        count: number of people, B.

    Returns:
        (B,) degrees in (-180, 180] by which each crop's square is turned clockwise.
    """
    turns = np.zeros(count)
    open_ = np.arange(count)
    for _ in range(LOOKS):
        landmarks = look(open_, turns[open_])
        change = tilt(landmarks[:, HIPS], landmarks[:, SHOULDERS])
        turns[open_] = -((180 - turns[open_] - change) % 360 - 180)
        open_ = open_[np.abs(change) > SETTLED]
        if not len(open_):
            break
    return turns


def turn_back(prediction: Prediction, degrees: jax.Array) -> Prediction:
    """A prediction for turned crops, (B,) degrees clockwise, in the camera of the image.

    "camera" becomes that of a crop that is not turned. What is in crop coordinates stays in those of the turned crop.
    """
    sine, cosine = jnp.sin(jnp.radians(degrees)), jnp.cos(jnp.radians(degrees))
    zero, one = jnp.zeros_like(sine), jnp.ones_like(sine)
    rotation = jnp.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], -1).reshape(-1, 3, 3)

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
