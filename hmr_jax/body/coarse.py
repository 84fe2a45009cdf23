"""A coarse version of a body's mesh, and the linear maps from it back to the full mesh.

D2A-HMR's non-parametric head, like METRO's, predicts 431 vertices; two linear maps refine them to 1723 vertices and to
all. METRO ships such maps for SMPL only; here they are computed for any body. The coarse vertices are vertices of the
mesh, chosen by farthest-point sampling. Every other vertex is an affine combination (the weights sum to 1) of the
coarse vertices that are nearest along the surface. The weights are fitted to a set of shaped and posed bodies, so that
they account for how the surface bends, which barycentric coordinates of the rest pose do not.

The maps of the built-in body are shipped. Those of another body are computed once, in about half a minute, and cached
under HMR_JAX_CACHE or ~/.cache/hmr_jax; the file is named by a hash of the body.

Shapes: V vertices, M middle and C coarse vertices, J joints, K neighbours of a vertex, L neighbours of a joint, P
bodies to fit, N vertices that a map starts from.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from hmr_jax.body.default_body import TOPOLOGY
from hmr_jax.body.model import BodyModel
from hmr_jax.body.regressors import joint_set_matrix
from hmr_jax.body.skinning import skin
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.geometry.farthest_points import farthest_points
from hmr_jax.io import atomic
from hmr_jax.io.cache import cache_folder
from hmr_jax.io.research_files import read_contents

NUM_COARSE, NUM_MIDDLE = 431, 1723  # METRO's levels
NEIGHBOURS = 8
JOINT_NEIGHBOURS = 32
_BODIES = 64  # number of bodies to which weights are fitted
_ANGLE, _SHAPE = 0.35, 1.0  # standard deviations of their joint angles (rad per axis) and betas
_RIDGE = 1e-4  # share of the neighbours' mean square distance: keeps the weights small, so that noise stays small
_ASSET = Path(str(resources.files("hmr_jax"))) / "assets" / "default_coarse.npz"


@dataclass(frozen=True)
class CoarseMesh:
    """Vertices of two coarser levels, and sparse linear maps: row i is sum_k weights[i, k] x[neighbours[i, k]]."""

    vertex_ids: np.ndarray
    """(M,) int32 vertices of the middle level; the first `NUM_COARSE` are the coarse level."""
    middle_neighbours: np.ndarray
    """(M, K) int32 coarse vertices of each middle vertex."""
    middle_weights: np.ndarray
    """(M, K) float32, rows sum to 1."""
    full_neighbours: np.ndarray
    """(V, K) int32 middle vertices of each vertex."""
    full_weights: np.ndarray
    """(V, K) float32, rows sum to 1."""
    joint_neighbours: np.ndarray
    """(J, L) int32 coarse vertices of each of the body's joints."""
    joint_weights: np.ndarray
    """(J, L) float32, rows sum to 1. A body's own regressor is valid in the rest pose only."""

    def middle_matrix(self) -> np.ndarray:
        """(M, C) float32 map from coarse to middle vertices."""
        return _dense(self.middle_neighbours, self.middle_weights, NUM_COARSE)

    def full_matrix(self) -> np.ndarray:
        """(V, C) float32 map from coarse vertices to all: the product of both maps."""
        rows = self.middle_matrix()
        full = np.zeros((len(self.full_weights), NUM_COARSE), np.float32)
        for k in range(self.full_weights.shape[1]):
            full += self.full_weights[:, k, None] * rows[self.full_neighbours[:, k]]
        return full

    def joint_matrix(self) -> np.ndarray:
        """(J, C) float32 map from coarse vertices to joints."""
        return _dense(self.joint_neighbours, self.joint_weights, NUM_COARSE)

    def joint_set_matrix(self, model: BodyModel, name: str) -> np.ndarray:
        """(points, C) float32 map from coarse vertices to one of `regressors.JOINT_SETS`, by joints and full mesh."""
        matrix, vertex_ids = joint_set_matrix(model, name)
        columns = np.concatenate([self.joint_matrix(), self.full_matrix()[vertex_ids]])
        return (matrix @ columns).astype(np.float32)


def load_coarse_mesh(model: BodyModel) -> CoarseMesh:
    """The maps of a body: shipped, from the cache, or computed and cached.

    Raises:
        ValueError: the mesh has too few vertices to be coarsened.
    """
    if model.num_vertices <= NUM_MIDDLE:
        raise ValueError(
            f"A mesh of {model.num_vertices} vertices cannot be coarsened to {NUM_MIDDLE}: use d2a.head 'smpl' with it."
        )
    if model.topology == TOPOLOGY:
        return read_coarse_mesh(_ASSET)
    folder = cache_folder()
    path = None if folder is None else folder / f"coarse_{model.topology}_{_fingerprint(model)}.npz"
    if path is not None and path.is_file():
        return read_coarse_mesh(path)
    mesh = build_coarse_mesh(model)
    if path is not None:
        save_coarse_mesh(mesh, path)
    return mesh


def build_coarse_mesh(model: BodyModel, seed: int = 0) -> CoarseMesh:
    """Computes the maps of a body, in about half a minute.

    Args:
        model: the body.
        seed: of the random bodies to which the weights are fitted.
    """
    rng = np.random.default_rng(seed)
    template = np.asarray(model.v_template, np.float64)
    vertex_ids = farthest_points(template, NUM_MIDDLE, first=int(np.argmax(template[:, 1])))
    pose = rng.normal(0, _ANGLE, (_BODIES, model.num_joints, 3)).astype(np.float32)
    betas = rng.normal(0, _SHAPE, (_BODIES, model.num_betas)).astype(np.float32)
    posed = skin(model, jnp.asarray(betas), axis_angle_to_matrix(jnp.asarray(pose)))
    vertices, joints = (np.asarray(x, np.float64) for x in posed)  # (P, V, 3), (P, J, 3)

    middle = vertices[:, vertex_ids]
    distances = _surface_distance(template, np.asarray(model.faces), vertex_ids)  # (M, V)
    full_neighbours = _nearest(distances, NEIGHBOURS)
    middle_neighbours = _nearest(distances[:NUM_COARSE, vertex_ids], NEIGHBOURS)
    rest_joints = np.asarray(model.joint_regressor) @ template
    joint_distances = np.linalg.norm(template[vertex_ids[:NUM_COARSE], None] - rest_joints, axis=-1)
    joint_neighbours = _nearest(joint_distances, JOINT_NEIGHBOURS)
    coarse = middle[:, :NUM_COARSE]
    return CoarseMesh(
        vertex_ids.astype(np.int32),
        middle_neighbours, _affine_weights(middle, coarse, middle_neighbours),
        full_neighbours, _affine_weights(vertices, middle, full_neighbours),
        joint_neighbours, _affine_weights(joints, coarse, joint_neighbours),
    )  # fmt: skip


def save_coarse_mesh(mesh: CoarseMesh, path: Path) -> None:
    """Writes an npz file atomically; weights are float16, and small enough for a rounding error of 0.1 mm."""
    arrays = {name: _pack(value) for name, value in vars(mesh).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_npz(path, arrays)


def read_coarse_mesh(path: Path) -> CoarseMesh:
    """Reads what `save_coarse_mesh` wrote; raises ValueError if the file is damaged."""
    values = read_contents(path)
    for name, value in values.items():
        if name.endswith("weights"):
            value = value.astype(np.float32)
            value[:, 0] = 1 - value[:, 1:].sum(1)  # the nearest one corrects for the rounding
            values[name] = value
        else:
            values[name] = value.astype(np.int32)
    return CoarseMesh(**values)


def _fingerprint(model: BodyModel) -> str:
    digest = hashlib.sha256()
    arrays = (model.v_template, model.faces, model.skinning_weights, model.shapedirs, model.posedirs)
    for array in (*arrays, model.joint_regressor):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _pack(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16) if array.dtype.kind == "f" else array.astype(np.uint16)


def _dense(neighbours: np.ndarray, weights: np.ndarray, columns: int) -> np.ndarray:
    matrix = np.zeros((len(weights), columns), np.float32)
    np.put_along_axis(matrix, neighbours.astype(np.intp), weights, axis=1)
    return matrix


def _surface_distance(points: np.ndarray, faces: np.ndarray, sources: np.ndarray, reach: float = 0.35) -> np.ndarray:
    """(M, V) lengths of the shortest paths along edges; larger than all of these beyond `reach` or without a path."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    graph = coo_matrix((lengths, edges.T), shape=(len(points), len(points))).tocsr()
    paths = dijkstra(graph, directed=False, indices=sources, limit=reach)
    straight = np.linalg.norm(points[sources, None] - points, axis=-1)
    return np.where(np.isfinite(paths), paths, 10 + straight)


def _nearest(distance: np.ndarray, count: int) -> np.ndarray:
    """(N, V) -> (V, count) indices of the nearest rows of each column, the nearest first."""
    rows = np.argpartition(distance, count, 0)[:count]
    order = np.argsort(np.take_along_axis(distance, rows, 0), 0, kind="stable")
    return np.take_along_axis(rows, order, 0).T.astype(np.int32)


def _affine_weights(targets: np.ndarray, sources: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """(P, V, 3) targets, (P, N, 3) sources, (V, K) -> (V, K) float32 weights of sum 1: ridge regression."""
    around = sources[:, neighbours]  # (P, V, K, 3)
    base = around[:, :, 0]
    offsets = around[:, :, 1:] - base[:, :, None]
    gram = np.einsum("pvkc,pvlc->vkl", offsets, offsets, optimize=True)
    right = np.einsum("pvkc,pvc->vk", offsets, targets - base, optimize=True)
    mean = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    gram += (_RIDGE * mean + 1e-12)[:, None, None] * np.eye(gram.shape[1])
    rest = np.linalg.solve(gram, right[..., None])[..., 0]
    return np.concatenate([1 - rest.sum(1, keepdims=True), rest], 1).astype(np.float32)
