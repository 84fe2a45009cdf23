"""Compiled loops over vertices and joints: skinning, clothes' thickness, normals, the cast shadow, rotation vectors.

Shapes: V vertices, B examples, J joints, K joints that move one vertex or terms of a sum, N numbers of an example,
R points, F faces, M side of the shadow map.
"""

import numba
import numpy as np

from data_pipelines.synthetic.compiled import Struct, jit
from data_pipelines.synthetic.lens import box_blur
from data_pipelines.synthetic.paint_person import BOTTOM, TOP, zone_at
from data_pipelines.synthetic.textures import noise3
from hmr_jax.io.cache import keeps_compiled


@jit
def combine(start: np.ndarray, amounts: np.ndarray, basis: np.ndarray, out: np.ndarray) -> None:
    """start (N,) + amounts (B, K) @ basis (N, K) transposed, into out (B, N); B is a multiple of 4.

    It runs in the calling thread. NumPy's matrix products have helper threads that spin while they wait for work.
    """
    for n in range(out.shape[1]):
        for i in range(0, out.shape[0], 4):  # four sums at a time use what is loaded
            a = b = c = d = np.float32(0)
            for k in range(basis.shape[1]):
                value = basis[n, k]
                a += amounts[i, k] * value
                b += amounts[i + 1, k] * value
                c += amounts[i + 2, k] * value
                d += amounts[i + 3, k] * value
            out[i, n], out[i + 1, n], out[i + 2, n], out[i + 3, n] = (
                start[n] + a,
                start[n] + b,
                start[n] + c,
                start[n] + d,
            )


@jit
def regress(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, vertices: np.ndarray, out: np.ndarray) -> None:
    """Points (B, R, 3): out[b, row] is the sum of weight * vertices[b, column], for (B, V, 3)."""
    out[:] = 0
    for b in range(vertices.shape[0]):
        for n in range(rows.size):
            for k in range(3):
                out[b, rows[n], k] += weights[n] * vertices[b, columns[n], k]


@jit
def skin(rest: np.ndarray, transforms: np.ndarray, joint: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Linear blend skinning: rest (B, V, 3) by transforms (B, J, 3, 4), joint and weight (V, K), into out (B, V, 3)."""
    for b in range(rest.shape[0]):
        for v in range(rest.shape[1]):
            x, y, z = rest[b, v, 0], rest[b, v, 1], rest[b, v, 2]
            for axis in range(3):
                total = np.float32(0)
                for k in range(joint.shape[1]):
                    j, w = joint[v, k], weight[v, k]
                    moved = transforms[b, j, axis, 0] * x + transforms[b, j, axis, 1] * y
                    total += w * (moved + transforms[b, j, axis, 2] * z + transforms[b, j, axis, 3])
                out[b, v, axis] = total


@jit
def lowest(vertices: np.ndarray, up: np.ndarray, out: np.ndarray) -> None:
    """The least height of (B, V, 3) along `up` (B, 3), into (B,)."""
    for b in range(vertices.shape[0]):
        ux, uy, uz = up[b, 0], up[b, 1], up[b, 2]
        out[b] = np.inf
        for v in range(vertices.shape[1]):
            height = vertices[b, v, 0] * ux + vertices[b, v, 1] * uy + vertices[b, v, 2] * uz
            out[b] = min(out[b], height)


@jit
def bounds(vertices: np.ndarray, on_screen: bool, low: np.ndarray, high: np.ndarray) -> None:
    """Smallest and largest x, y, z of (B, V, 3) into (B, 3) each; `on_screen` takes x / z and y / z."""
    for b in range(vertices.shape[0]):
        low[b], high[b] = np.inf, -np.inf
        for v in range(vertices.shape[1]):
            z = vertices[b, v, 2]
            scale = np.float32(1) / z if on_screen else np.float32(1)
            for k in range(3):
                value = z if k == 2 else vertices[b, v, k] * scale
                low[b, k], high[b, k] = min(low[b, k], value), max(high[b, k], value)


@jit
def vertex_normals(vertices: np.ndarray, faces: np.ndarray, out: np.ndarray) -> None:
    """Unit normals (V, 3): the adjacent triangles' normals weighted by area."""
    out[:] = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + np.float32(1e-12)
        for k in range(3):
            out[v, k] /= length


@jit
def dress(
    vertices: np.ndarray, normals: np.ndarray, template: np.ndarray, look: Struct, plan: Struct, out: np.ndarray
) -> None:
    """Moves vertices along their normals by the looseness of the garment on them: (V, 3) into out (V, 3)."""
    for v in range(vertices.shape[0]):
        amount, p = np.float32(0), template[v]
        zone = zone_at(p[0], p[1], p[2], look, plan)
        if zone in (TOP, BOTTOM):
            phase, fine = look.fold_phase, np.float32(9)
            thickness = noise3(p[0] * fine + phase[0], p[1] * fine + phase[1], p[2] * fine + phase[2])
            amount = look.loose[zone - TOP] * (np.float32(0.4) + np.float32(1.2) * thickness)
        for k in range(3):
            out[v, k] = vertices[v, k] + amount * normals[v, k]


@jit
def project(vertices: np.ndarray, intrinsics: np.ndarray, out: np.ndarray) -> None:
    """Camera axes (V, 3) to x, y in pixels and depth (V, 3)."""
    for v in range(vertices.shape[0]):
        z = vertices[v, 2]
        out[v, 0] = intrinsics[0, 0] * vertices[v, 0] / z + intrinsics[0, 2]
        out[v, 1] = intrinsics[1, 1] * vertices[v, 1] / z + intrinsics[1, 2]
        out[v, 2] = z


@jit
def cast_shadow(vertices: np.ndarray, intrinsics: np.ndarray, scene: Struct, size: int, shadow: np.ndarray) -> None:
    """Projects the vertices along the light onto the floor, into a coarse map (M, M) of the image, values 0 to 1.

    A second projection, straight down and fading with height, makes the contact shadow.
    """
    shadow[:] = 0
    cells, lowest = shadow.shape[0], scene.ground
    ratio = np.float32(cells) / np.float32(size)
    fx, cx = intrinsics[0, 0] * ratio, intrinsics[0, 2] * ratio
    fy, cy = intrinsics[1, 1] * ratio, intrinsics[1, 2] * ratio
    ux, uy, uz = scene.up[0], scene.up[1], scene.up[2]
    light = scene.light[0]
    slope = np.float32(1) / max(light[0] * ux + light[1] * uy + light[2] * uz, np.float32(0.25))
    for v in range(0, vertices.shape[0], 2):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        height = x * ux + y * uy + z * uz - lowest
        for k in range(2):
            if k == 0:
                t = height * slope
                px, py, pz = x - t * light[0], y - t * light[1], z - t * light[2]
            else:
                px, py, pz = x - height * ux, y - height * uy, z - height * uz
            if pz < np.float32(0.1):
                continue
            scale = np.float32(1) / pz
            column, row = int(fx * px * scale + cx), int(fy * py * scale + cy)
            if 0 <= column < cells and 0 <= row < cells:
                amount = np.float32(0.8) if k == 0 else np.exp(-height * np.float32(6))
                shadow[row, column] = max(shadow[row, column], amount)
    box_blur(shadow.reshape(cells, 1, cells), max(1, cells // 32))


@numba.njit(nogil=True, cache=keeps_compiled())
def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Axis-angle (N, 3) of rotation matrices (N, 3, 3), from the quaternion's largest component."""
    out, q = np.empty((len(matrices), 3)), np.empty(4)
    for n in range(len(matrices)):
        m = matrices[n]
        trace = m[0, 0] + m[1, 1] + m[2, 2]
        i = 0
        for k in range(1, 3):
            i = k if m[k, k] > m[i, i] else i
        if trace > m[i, i]:
            q[0], q[1], q[2], q[3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + trace
        else:
            j, k = (i + 1) % 3, (i + 2) % 3
            q[i], q[j], q[k] = 1 - trace + 2 * m[i, i], m[j, i] + m[i, j], m[k, i] + m[i, k]
            q[3] = m[k, j] - m[j, k]
        length = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
        angle = 2 * np.arctan2(length, abs(q[3]))
        scale = np.copysign(angle / length if length > 1e-12 * abs(q[3]) else 2 / abs(q[3]), q[3])
        for k in range(3):
            out[n, k] = q[k] * scale
    return out
