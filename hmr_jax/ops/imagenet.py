"""The normalisation of images that nearly all pretrained networks expect."""

from typing import TypeVar

import jax
import numpy as np

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)

Array = TypeVar("Array", jax.Array, np.ndarray)


def normalize_imagenet(image: Array) -> Array:
    """(..., 3) RGB in [0, 1] -> (..., 3) with ImageNet's mean 0 and standard deviation 1 for each channel."""
    return (image - IMAGENET_MEAN) / IMAGENET_STD
