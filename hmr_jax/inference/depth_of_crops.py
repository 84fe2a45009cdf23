"""Depth maps for the crops of a call, where the network takes them.

Shapes: B crops, S side of a crop.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from hmr_jax.depth import DepthMap, crop_depth
from hmr_jax.inference.inputs import one_per_image


def check_depth(images: Sequence[np.ndarray], depth: Sequence[DepthMap | None] | None) -> None:
    """Raises ValueError if the depth of some images cannot be used, warns if there is none."""
    if depth is None:
        warnings.warn("No depth given: the network predicts from the images alone, less accurately.", stacklevel=4)
        return
    maps = one_per_image(depth, len(images), "depth maps", "a DepthMap or None per image")
    for number, (image, one) in enumerate(zip(images, maps, strict=True)):
        if not isinstance(one, DepthMap | None):
            raise ValueError(f"The depth map of image {number} is a {type(one).__name__}: give a DepthMap or None.")
        if one is not None:
            one.check_size((image.shape[1], image.shape[0]), f"The depth map of image {number}")


def crop_depths(depth: Sequence[DepthMap | None] | None, batch: Sequence[dict], size: int) -> dict[str, np.ndarray]:
    """ "pseudo_depth" (B, S, S) and "has_pseudo_depth" (B,) of people in one or more images."""
    of_each = [None if depth is None else depth[one["image_index"]] for one in batch]
    squares = [(one["box_center"], one["box_size"], size) for one in batch]
    cut = [crop_depth(one, *square) for one, square in zip(of_each, squares, strict=True)]
    maps, has = zip(*cut, strict=True)
    return {"pseudo_depth": np.stack(maps), "has_pseudo_depth": np.array(has, np.float32)}
