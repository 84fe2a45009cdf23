"""The configuration of Depth Anything, which is no part of an experiment; no computation."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DepthAnythingConfig:
    """Depth Anything, as a converted checkpoint describes it; by default Small, version 2."""

    dim: int = 384
    """Width of DINOv2's tokens."""
    depth: int = 12
    """Number of its blocks."""
    num_heads: int = 6
    """Attention heads."""
    mlp_ratio: int = 4
    """Hidden width of the MLP in units of dim."""
    patch_size: int = 14
    """Side of a patch, px."""
    grid: int = 37
    """Side of the square map of patches that the position embedding was trained for."""
    taps: tuple[int, ...] = (2, 5, 8, 11)
    """Blocks, from 0, whose outputs the head reads."""
    neck_dims: tuple[int, ...] = (48, 96, 192, 384)
    """Widths of the four maps, from the finest."""
    fusion_dim: int = 64
    """Width of the fused maps."""
    head_dim: int = 32
    """Width before the last layer."""
    max_depth: float = 0.0
    """Largest depth in metres of a metric network; 0: the output is inverse depth without a unit."""
    position_offset: float = 0.1
    """Where the position embedding is resized: 0.1 as in the original code, 0 as in transformers."""
    size: int = 518
    """Smaller side of the image that the network is shown, px, before rounding to patches."""


def is_called_metric(path: str | Path) -> bool:
    """Whether the name of a file or folder says that its network gives metres: the tensors do not say it.

    Files called "model" or "pytorch_model" go by their folder's name.
    """
    path = Path(path).absolute()
    name = path.parent.name if path.stem in ("model", "pytorch_model") else path.name
    return re.search(r"metric|hypersim|vkitti", name, re.IGNORECASE) is not None
