"""Drawing meshes: z-buffer and smooth shading, without a graphics library."""

from hmr_jax.rendering.rasterize import Raster, barycentric, interpolate, rasterize, vertex_normals
from hmr_jax.rendering.shading import CLAY, Lights, project_points, render

__all__ = [
    "CLAY",
    "Lights",
    "Raster",
    "barycentric",
    "interpolate",
    "project_points",
    "rasterize",
    "render",
    "vertex_normals",
]
