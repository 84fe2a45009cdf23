"""Z-buffer: which triangle of a mesh each pixel sees, and how far away it is.

There are two equivalent implementations: a Numba loop (default), and JAX for machines without Numba. A pixel belongs to
a triangle if the triangle covers its centre (x + 0.5, y + 0.5); triangles seen from behind are culled. The buffer holds
1 / depth, which is linear on the screen.

Shapes: V vertices, F faces, H height, W width, C channels, N windows.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.io.cache import keeps_compiled

try:
    import numba
except ImportError:  # the JAX back end takes over
    numba = None  # type: ignore[assignment]

WINDOW = 8  # side of the squares in which the JAX back end looks for covered pixels


class Raster(NamedTuple):
    """The nearest triangle at each pixel."""

    face_index: np.ndarray
    """(H, W) int32 index of the nearest triangle, -1 on the background."""
    inverse_depth: np.ndarray
    """(H, W) float32 1 / z of it, 0 on the background."""


def rasterize(
    points: np.ndarray,
    faces: np.ndarray,
    height: int,
    width: int,
    backend: Literal["auto", "numba", "jax"] = "auto",
) -> Raster:
    """Finds the nearest front-facing triangle at every pixel.

    Args:
        points: (V, 3) x and y in pixels (y down) and depth z > 0; triangles with a vertex at z <= 0 are not drawn.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        height: of the image, pixels.
        width: of the image, pixels.
        backend: "auto" takes Numba if it is installed.

    Raises:
        ImportError: backend "numba" without Numba installed.
    """
    points = np.ascontiguousarray(points, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    if backend == "jax" or (backend == "auto" and numba is None):
        return _rasterize_jax(points, faces, height, width)
    if numba is None:
        raise ImportError("The Numba rasteriser needs Numba: pip install numba, or use backend='jax'.")
    raster = Raster(np.full((height, width), -1, np.int32), np.zeros((height, width), np.float32))
    rasterize_into(points, faces, raster.face_index, raster.inverse_depth)
    return raster


def rasterize_into(points: np.ndarray, faces: np.ndarray, face_index: np.ndarray, inverse_depth: np.ndarray) -> None:
    """Draws triangles into a `Raster`'s buffers; arguments as of `rasterize`. Other compiled kernels may call it."""
    height, width = face_index.shape
    half, one = np.float32(0.5), np.float32(1)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if not area < 0 or min(az, bz, cz) <= 0:  # y points down: counter-clockwise has negative area
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - half)))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) - half)))
        top = max(0, int(np.ceil(min(ay, by, cy) - half)))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) - half)))
        if right < left or bottom < top:
            continue
        scale = one / area
        ia, ib, ic = one / az, one / bz, one / cz
        for y in range(top, bottom + 1):
            py = np.float32(y) + half
            for x in range(left, right + 1):  # without branches: they would be mispredicted at every edge
                px = np.float32(x) + half
                wa = ((bx - px) * (cy - py) - (cx - px) * (by - py)) * scale
                wb = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) * scale
                wc = one - wa - wb
                nearness, before = wa * ia + wb * ib + wc * ic, inverse_depth[y, x]
                wins = (wa >= 0) & (wb >= 0) & (wc >= 0) & (nearness > before)
                inverse_depth[y, x] = nearness if wins else before
                face_index[y, x] = f if wins else face_index[y, x]


if numba is not None:
    rasterize_into = numba.njit(nogil=True, cache=keeps_compiled())(rasterize_into)


def _rasterize_jax(points: np.ndarray, faces: np.ndarray, height: int, width: int) -> Raster:
    """Cuts every triangle's bounding box into windows of fixed size and scatters all their pixels at once."""
    corners = points[faces]
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 1, 0] * edges[:, 0, 1]
    drawn = (area < 0) & (corners[..., 2].min(1) > 0)
    size = np.array([width, height])
    with np.errstate(invalid="ignore"):
        first = np.clip(np.ceil(corners[..., :2].min(1) - 0.5), 0, size).astype(np.int64)
        last = np.clip(np.floor(corners[..., :2].max(1) - 0.5), -1, size - 1).astype(np.int64)
    columns, rows = (np.where(drawn[:, None], np.maximum(last - first + WINDOW, 0), 0) // WINDOW).T
    face = np.repeat(np.arange(len(faces)), columns * rows)
    number = np.arange(len(face)) - np.repeat(np.cumsum(columns * rows) - columns * rows, columns * rows)
    window = first[face] + WINDOW * np.stack([number % columns[face], number // columns[face]], -1)
    padding = (1 << max(len(face) - 1, 1).bit_length()) - len(face)  # few distinct lengths: few compilations
    face, window = np.pad(face, (0, padding), constant_values=-1), np.pad(window, ((0, padding), (0, 0)))
    return Raster(*map(np.asarray, _scatter(points, faces, face, window, (height, width))))


@partial(jax.jit, static_argnums=4)
def _scatter(
    points: np.ndarray, faces: np.ndarray, face: np.ndarray, window: np.ndarray, size: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    height, width = size
    corners = jnp.asarray(points)[jnp.asarray(faces)[face]]  # (N, 3, 3)
    step = jnp.arange(WINDOW)
    column = window[:, 0, None, None] + step[None, None, :]
    row = window[:, 1, None, None] + step[None, :, None]  # with column: (N, WINDOW, WINDOW)
    px, py = column + jnp.float32(0.5), row + jnp.float32(0.5)
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = jnp.moveaxis(corners, 0, -1)[..., None, None]
    scale = 1 / ((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))
    wa = ((bx - px) * (cy - py) - (cx - px) * (by - py)) * scale
    wb = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) * scale
    wc = 1 - wa - wb
    inside = (wa >= 0) & (wb >= 0) & (wc >= 0) & (column < width) & (row < height) & (face[:, None, None] >= 0)
    nearness = wa / az + wb / bz + wc / cz
    pixel = jnp.where(inside, row * width + column, height * width)
    inverse_depth = jnp.zeros(height * width + 1).at[pixel].max(jnp.where(inside, nearness, 0))
    wins = inside & (nearness == inverse_depth[pixel])
    none = jnp.int32(faces.shape[0])
    face_index = jnp.full(height * width + 1, none).at[pixel].min(jnp.where(wins, face[:, None, None], none))
    face_index = jnp.where(face_index == none, -1, face_index)
    return face_index[:-1].reshape(size), inverse_depth[:-1].reshape(size)


def barycentric(points: np.ndarray, faces: np.ndarray, raster: Raster) -> np.ndarray:
    """Perspective-correct weights of the three corners of the nearest triangle at each pixel.

    Args:
        points: (V, 3) as given to `rasterize`.
        faces: (F, 3) as given to `rasterize`.
        raster: its result.

    Returns:
        (H, W, 3) float32; the weights sum to 1 on the mesh and are 0 off it.
    """
    row, column = np.nonzero(raster.face_index >= 0)
    corners = points[faces[raster.face_index[row, column]]]
    offset = corners[..., :2] - np.stack([column, row], -1)[:, None] - 0.5
    following, preceding = np.roll(offset, -1, 1), np.roll(offset, 1, 1)
    weights = following[..., 0] * preceding[..., 1] - preceding[..., 0] * following[..., 1]
    weights = weights / corners[..., 2]  # what is linear on the screen is attribute / z
    result = np.zeros((*raster.face_index.shape, 3), np.float32)
    result[row, column] = weights / weights.sum(1, keepdims=True)
    return result


def interpolate(attributes: np.ndarray, faces: np.ndarray, raster: Raster, weights: np.ndarray) -> np.ndarray:
    """Vertex attributes (V, C) at every pixel, (H, W, C); 0 off the mesh. `weights` come from `barycentric`."""
    seen = raster.face_index >= 0
    result = np.zeros((*seen.shape, attributes.shape[1]), np.float32)
    result[seen] = np.einsum("nkc,nk->nc", attributes[faces[raster.face_index[seen]]], weights[seen])
    return result


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals: the sum of the adjacent triangles' normals, weighted by area."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    owner = faces.T.ravel()
    total = np.stack([np.bincount(owner, np.tile(axis, 3), len(vertices)) for axis in normal.T], -1)
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)
