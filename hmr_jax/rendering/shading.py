"""Smooth shading of a coloured mesh: the image, and the coverage that overlays blend with.

Shapes: V vertices, F faces, H height, W width.
"""

from dataclasses import dataclass

import numpy as np

from hmr_jax.io.cache import keeps_compiled
from hmr_jax.rendering.rasterize import Raster, barycentric, interpolate, numba, rasterize, vertex_normals

CLAY = (0.65, 0.74, 0.86)
"""The default surface colour."""


@dataclass(frozen=True)
class Lights:
    """Ambient and directional light, in camera axes (x right, y down, z forward)."""

    ambient: float = 0.32
    """Brightness from all directions."""
    directions: tuple[tuple[float, float, float], ...] = ((0.4, -0.6, -0.7), (-0.8, -0.1, -0.5), (0.0, -0.6, 0.8))
    """Towards each light: a key light, a fill light and a rim light from behind."""
    strengths: tuple[float, ...] = (0.55, 0.22, 0.25)
    """Brightness of each."""

    def on(self, normals: np.ndarray) -> np.ndarray:
        """(N,) float32 brightness of surfaces with unit normals (N, 3)."""
        directions = np.array(self.directions, np.float32).reshape(-1, 3)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        strengths = np.asarray(self.strengths, np.float32)
        return np.float32(self.ambient) + np.maximum(normals @ directions.T, 0) @ strengths


STUDIO = Lights()


def render(
    vertices: np.ndarray,
    faces: np.ndarray,
    intrinsics: np.ndarray,
    height: int,
    width: int,
    colors: np.ndarray | None = None,
    lights: Lights = STUDIO,
    supersample: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a mesh in perspective.

    Args:
        vertices: (V, 3) metres, camera axes.
        faces: (F, 3) counter-clockwise seen from outside.
        intrinsics: (3, 3) of the image, pixels.
        height: of the image, pixels.
        width: of the image, pixels.
        colors: (V, 3) RGB in [0, 1]; None: `CLAY`.
        lights: ambient and directional light.
        supersample: samples per pixel and axis.

    Returns:
        Image (H, W, 3) uint8, not multiplied by alpha and black off the mesh; alpha (H, W) float32 in [0, 1].
    """
    vertices = np.asarray(vertices, np.float32)
    colors = np.broadcast_to(np.asarray(CLAY if colors is None else colors, np.float32), vertices.shape)
    points = project_points(vertices, intrinsics)
    points[:, :2] *= supersample
    raster = rasterize(points, faces, height * supersample, width * supersample)
    shade = _shade_numpy if numba is None else _shade_numba
    return shade(points, faces, raster, colors * lights.on(vertex_normals(vertices, faces))[:, None], supersample)


def project_points(vertices: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Projects points (V, 3) in camera axes to the x, y in pixels and depth (V, 3) that `rasterize` takes.

    Points behind the camera keep their depth; their x and y are undefined, and `rasterize` draws no triangle with them.
    """
    depth = vertices[:, 2:]
    plane = vertices[:, :2] / np.where(depth > 1e-6, depth, 1) @ np.asarray(intrinsics)[:2, :2].T + intrinsics[:2, 2]
    return np.concatenate([plane, depth], 1).astype(np.float32)


def _shade_numpy(points, faces, raster: Raster, lit, supersample):
    """What `render` returns; `lit` (V, 3) are the colours in the light."""
    color = interpolate(lit, faces, raster, barycentric(points, faces, raster))
    height, width = (side // supersample for side in raster.face_index.shape)
    blocks = (height, supersample, width, supersample)
    sums, hits = color.reshape(*blocks, 3).sum((1, 3)), (raster.face_index >= 0).reshape(blocks).sum((1, 3))
    image, covered = np.zeros((height, width, 3), np.uint8), hits > 0
    image[covered] = np.clip(255 * sums[covered] / hits[covered, None] + 0.5, 0, 255)
    return image, hits.astype(np.float32) / supersample**2


def _shade_numba(points, faces, raster: Raster, lit, supersample):
    height, width = (side // supersample for side in raster.face_index.shape)
    image, alpha = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    _shade_kernel(points, np.asarray(faces, np.int32), raster.face_index, lit, supersample, image, alpha)
    return image, alpha


def _shade_kernel(points, faces, face_index, lit, step, image, alpha):
    weight, total = np.empty(3, np.float32), np.empty(3, np.float32)
    zero, most = np.float32(0), np.float32(255)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            hits = 0
            total[:] = 0
            for y in range(row * step, (row + 1) * step):
                for x in range(column * step, (column + 1) * step):
                    f = face_index[y, x]
                    if f < 0:
                        continue
                    corner_weights(points, faces, f, x, y, weight)
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    hits += 1
                    for k in range(3):
                        total[k] += weight[0] * lit[a, k] + weight[1] * lit[b, k] + weight[2] * lit[c, k]
            if hits:
                alpha[row, column] = np.float32(hits) / np.float32(step * step)
                for k in range(3):
                    level = most * total[k] / np.float32(hits) + np.float32(0.5)
                    image[row, column, k] = np.uint8(min(max(level, zero), most))


def corner_weights(points: np.ndarray, faces: np.ndarray, f: int, x: int, y: int, weight: np.ndarray) -> None:
    """Writes the perspective-correct barycentric weights of face f at the centre of pixel (x, y) into `weight` (3,)."""
    px, py = np.float32(x) + np.float32(0.5), np.float32(y) + np.float32(0.5)
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ax, ay, bx, by = points[a, 0] - px, points[a, 1] - py, points[b, 0] - px, points[b, 1] - py
    cx, cy = points[c, 0] - px, points[c, 1] - py
    wa, wb, wc = bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay
    wa, wb, wc = wa / points[a, 2], wb / points[b, 2], wc / points[c, 2]
    scale = np.float32(1) / (wa + wb + wc)
    weight[0], weight[1], weight[2] = wa * scale, wb * scale, wc * scale


if numba is not None:
    corner_weights = numba.njit(nogil=True, cache=keeps_compiled(), inline="always")(corner_weights)
    _shade_kernel = numba.njit(nogil=True, cache=keeps_compiled(), fastmath=True)(_shade_kernel)
