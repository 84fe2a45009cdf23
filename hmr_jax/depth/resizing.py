"""Resizing of images for depth networks, and of maps back to their images.

Shapes: H, W an image, h, w the network's input.
"""

import functools
import math
import operator

import numpy as np

from hmr_jax.ops import normalize_imagenet
from hmr_jax.ops.bicubic import cubic_taps


def network_size(size: tuple[int, ...], short_side: int = 518, multiple: int = 14) -> tuple[int, int]:
    """Size (h, w) in which Depth Anything takes an image (H, W): both sides are multiples of a patch.

    As in the original code the aspect is kept, and sides are rounded to the nearest multiple, or up if that is below
    `short_side`.
    """
    scale = max(short_side / side for side in size[:2])

    def rounded(side: float) -> int:
        near = round(side / multiple) * multiple
        return near if near >= short_side else math.ceil(side / multiple) * multiple

    height, width = (rounded(scale * side) for side in size[:2])
    return height, width


def prepare(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3) float32: resized bicubically as by OpenCV, normalised by ImageNet's statistics."""
    x = image.astype(np.float32) / 255
    for axis, target in enumerate(size):
        if x.shape[axis] != target:
            indices, weights = cubic_taps(x.shape[axis], target)
            shape = (-1, *[1] * (x.ndim - 1 - axis))
            x = functools.reduce(
                operator.add,
                (
                    np.take(x, index, axis) * weight.astype(np.float32).reshape(shape)
                    for index, weight in zip(indices, weights, strict=True)
                ),
            )
    return normalize_imagenet(x)


def resize_linear(depth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(h, w) -> (H, W), bilinear, with corners aligned."""
    for axis, target in enumerate(size):
        source = depth.shape[axis]
        positions = np.arange(target) * ((source - 1) / max(target - 1, 1))
        low = np.minimum(positions.astype(int), source - 1)
        weight = (positions - low).astype(np.float32).reshape((-1, *[1] * (1 - axis)))
        lower, upper = np.take(depth, low, axis), np.take(depth, np.minimum(low + 1, source - 1), axis)
        depth = lower + (upper - lower) * weight
    return depth
