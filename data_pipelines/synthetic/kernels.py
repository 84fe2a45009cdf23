"""Compiled loops over the vertices of one person: skinning, clothes' thickness, normals, and the cast shadow.

All release the GIL, so that threads draw several images at once; none is random or depends on other images.

Letters: V vertices, B examples, J joints, K joints that move one vertex, F faces, S side of the image.
"""

import numba
import numpy as np

from data_pipelines.synthetic.paint import BOTTOM, TOP
from data_pipelines.synthetic.textures import box_blur, noise3

jit = numba.njit(nogil=True, cache=True, fastmath=True)


@jit
def skin(rest, transforms, joint, weight, out):
    """Linear blend skinning: rest (V, 3) by transforms (J, 3, 4), with joint and weight (V, K), into out (V, 3)."""
    for v in range(rest.shape[0]):
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        for axis in range(3):
            total = np.float32(0)
            for k in range(joint.shape[1]):
                m = transforms[joint[v, k], axis]
                total += weight[v, k] * (m[0] * x + m[1] * y + m[2] * z + m[3])
            out[v, axis] = total


@jit
def bounds(vertices, on_screen, low, high):
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
def vertex_normals(vertices, faces, out):
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
def dress(vertices, normals, template, zones, look, out):
    """Moves vertices along their normals by the looseness of the garment on them: (V, 3) into out (V, 3)."""
    for v in range(vertices.shape[0]):
        amount = np.float32(0)
        if zones[v] == TOP or zones[v] == BOTTOM:
            amount = look.loose[zones[v] - TOP]
            p = template[v]
            amount *= np.float32(0.4) + np.float32(1.2) * noise3(
                p[0] * 9 + look.fold_phase[0], p[1] * 9 + look.fold_phase[1], p[2] * 9 + look.fold_phase[2]
            )
        for k in range(3):
            out[v, k] = vertices[v, k] + amount * normals[v, k]


@jit
def project(vertices, intrinsics, out):
    """Camera axes (V, 3) to x, y in pixels and depth (V, 3)."""
    for v in range(vertices.shape[0]):
        z = vertices[v, 2]
        out[v, 0] = intrinsics[0, 0] * vertices[v, 0] / z + intrinsics[0, 2]
        out[v, 1] = intrinsics[1, 1] * vertices[v, 1] / z + intrinsics[1, 2]
        out[v, 2] = z


@jit
def cast_shadow(vertices, intrinsics, scene, size, shadow):
    """Splats the vertices, moved along the light onto the floor, into a coarse map (M, M) of the image, values 0-1.

    A second splat straight down, fading with height, makes the contact shadow.
    """
    shadow[:] = 0
    cells = shadow.shape[0]
    light, up = scene.light[0], scene.up
    slope = max(light[0] * up[0] + light[1] * up[1] + light[2] * up[2], np.float32(0.25))
    for v in range(0, vertices.shape[0], 2):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        height = x * up[0] + y * up[1] + z * up[2] - scene.ground
        for k in range(2):
            if k == 0:
                t = height / slope
                px, py, pz = x - t * light[0], y - t * light[1], z - t * light[2]
            else:
                px, py, pz = x - height * up[0], y - height * up[1], z - height * up[2]
            if pz < np.float32(0.1):
                continue
            column = int((intrinsics[0, 0] * px / pz + intrinsics[0, 2]) * cells / size)
            row = int((intrinsics[1, 1] * py / pz + intrinsics[1, 2]) * cells / size)
            if 0 <= column < cells and 0 <= row < cells:
                amount = np.float32(0.8) if k == 0 else np.exp(-height * np.float32(6))
                shadow[row, column] = max(shadow[row, column], amount)
    box_blur(shadow.reshape(cells, cells, 1), max(1, cells // 32))
