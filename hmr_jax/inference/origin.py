"""Which network predictions are of: what their files and drawings say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Origin:
    """A network, as results know it."""

    checkpoint: Mapping[str, Any]
    """Name and step."""
    topology: str
    """What the vertex numbers mean: "smpl", "hmr-default", ..."""
    faces: np.ndarray
    """(F, 3)."""
    focal_length: float
    """Of the camera of its crops, px of a crop of 256."""
    seen_width: float
    """Share of a crop's width that the encoder sees."""
