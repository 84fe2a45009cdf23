"""Pseudo-depth: maps of estimated depth, where they come from, and Depth Anything among these sources."""

from hmr_jax.depth.maps import (
    SUFFIXES,
    DepthMap,
    Kind,
    crop_depth,
    normalize,
    read_depth,
    to_levels,
    write_depth,
)

__all__ = ["SUFFIXES", "DepthMap", "Kind", "crop_depth", "normalize", "read_depth", "to_levels", "write_depth"]
