"""Pseudo-depth: maps of estimated depth and their sources, one of which is Depth Anything in JAX."""

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
