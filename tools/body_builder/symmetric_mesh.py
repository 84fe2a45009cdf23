"""Decimate one half of the skin and mirror it: 6,890 vertices, 13,776 faces, watertight, exactly symmetric.

A closed surface without handles has V = F / 2 + 2, so 13,776 faces always come with 6,890 vertices.

Shapes: B skin vertices of MakeHuman, H vertices of the decimated left half, V of the whole.
"""

from dataclasses import dataclass

import fast_simplification
import numpy as np
import scipy.sparse as sp
import trimesh
from scipy.spatial import cKDTree

NUM_FACES = 13776
NUM_VERTICES = NUM_FACES // 2 + 2
NUM_CANDIDATES = 30
SEAM_WIDTH = 1e-5  # metres


@dataclass
class SymmetricMesh:
    """The decimated mesh and how it hangs on the MakeHuman skin."""

    faces: np.ndarray
    """(F, 3)"""
    mirror: np.ndarray
    """(V,) number of each vertex's mirror image; vertices on the seam are their own."""
    transfer: sp.csr_matrix
    """(V, B) barycentric weights: anything given on the skin times this is given on the mesh."""


def build_symmetric_mesh(skin: np.ndarray, triangles: np.ndarray, skin_mirror: np.ndarray) -> SymmetricMesh:
    """Decimate the left half of a symmetric skin (B, 3) with seam at x = 0 and mirror it."""
    half_triangles = triangles[(skin[triangles, 0] > -SEAM_WIDTH).all(1)]
    used, compact = np.unique(half_triangles, return_inverse=True)
    compact = compact.reshape(-1, 3)
    # Borders only collapse onto themselves, so the seam stays in its plane.
    points, faces = fast_simplification.simplify(
        skin[used].astype(np.float32), compact.astype(np.int64), target_count=NUM_FACES // 2
    )
    points, faces = _even_border(points, faces)
    on_seam = np.isin(np.arange(len(points)), _border_edges(faces))

    triangle, shares = _nearest_triangles(points, skin, half_triangles)
    columns = half_triangles[triangle]
    rows = np.repeat(np.arange(len(points)), 3)
    transfer = sp.csr_matrix((shares.ravel(), (rows, columns.ravel())), shape=(len(points), len(skin)))
    mirrored = sp.csr_matrix((shares.ravel(), (rows, skin_mirror[columns].ravel())), shape=transfer.shape)
    # A seam vertex leans on both sides alike.
    transfer = sp.diags(np.where(on_seam, 0.5, 1.0)) @ transfer + sp.diags(np.where(on_seam, 0.5, 0.0)) @ mirrored

    inner = np.flatnonzero(~on_seam)
    mirror_of = np.arange(len(points))
    mirror_of[inner] = len(points) + np.arange(len(inner))
    mirror = np.concatenate([mirror_of, inner])
    mesh = SymmetricMesh(
        faces=np.concatenate([faces, mirror_of[faces][:, ::-1]]).astype(np.int32),
        mirror=mirror,
        transfer=sp.vstack([transfer, mirrored[inner]]).tocsr(),
    )
    _check(mesh)
    return mesh


def _nearest_triangles(points: np.ndarray, skin: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index (H,) of the triangle nearest to each point, among those around its nearest corners, and shares (H, 3)."""
    centres = cKDTree(skin[triangles].mean(1))
    _, candidates = centres.query(points, k=NUM_CANDIDATES)
    corners = skin[triangles[candidates.ravel()]]
    closest = trimesh.triangles.closest_point(corners, np.repeat(points, NUM_CANDIDATES, axis=0))
    distance = np.linalg.norm(closest.reshape(*candidates.shape, 3) - points[:, None], axis=2)
    best = distance.argmin(1)
    flat = np.arange(len(points)) * NUM_CANDIDATES + best
    shares = np.clip(trimesh.triangles.points_to_barycentric(corners[flat], closest[flat]), 0, None)
    return candidates.ravel()[flat], shares / shares.sum(1, keepdims=True)


def _border_edges(faces: np.ndarray) -> np.ndarray:
    """(n, 2) edges that have one face only."""
    edges, uses = np.unique(_edges(faces), axis=0, return_counts=True)
    return edges[uses == 1]


def _even_border(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve the longest border edge if the border is odd: only an even border gives an even number of half faces."""
    border = _border_edges(faces)
    if len(border) % 2 == 0:
        return points, faces
    a, b = border[np.linalg.norm(points[border[:, 0]] - points[border[:, 1]], axis=1).argmax()]
    old = np.flatnonzero(((faces == a) | (faces == b)).sum(1) == 2)[0]
    middle = len(points)
    first, second = faces[old].copy(), faces[old].copy()
    first[first == b], second[second == a] = middle, middle
    points = np.vstack([points, (points[a] + points[b]) / 2])
    return points, np.vstack([np.delete(faces, old, axis=0), first, second])


def _edges(faces: np.ndarray) -> np.ndarray:
    """(3 F, 2) edges of all faces, smaller vertex number first."""
    return np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)


def _check(mesh: SymmetricMesh) -> None:
    uses = np.unique(_edges(mesh.faces), axis=0, return_counts=True)[1]
    if len(mesh.faces) != NUM_FACES or len(mesh.mirror) != NUM_VERTICES or (uses != 2).any():
        raise RuntimeError(
            f"Decimation gave {len(mesh.mirror)} vertices, {len(mesh.faces)} faces and {(uses != 2).sum()} edges that "
            "are not shared by two faces."
        )
