"""An image whose people are predicted, with its camera and the name of its file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmr_jax.geometry.intrinsics import ImageCamera


class Photo(NamedTuple):
    """An image."""

    path: Path
    """Of its file; its stem is the name of the results. "image" where there is no file."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB, upright."""
    camera: ImageCamera

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.image.shape[1], self.image.shape[0]
