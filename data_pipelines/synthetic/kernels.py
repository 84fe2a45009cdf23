"""Compiled loops over the vertices of one person: skinning, clothes' thickness, normals, and the cast shadow.

All release the GIL, so that threads draw several images at once; none is random or depends on other images.

Shapes: V vertices, B examples, J joints, K joints that move one vertex or terms of a sum, R points, F faces, S side of
the image.
"""

import numpy as np

from data_pipelines.synthetic.compiled import jit
from data_pipelines.synthetic.lens import box_blur
from data_pipelines.synthetic.paint_person import BOTTOM, TOP, zone_at
from data_pipelines.synthetic.textures import noise3


@jit
def combine(start, amounts, basis, out):
    """start (N,) + amounts (B, K) @ basis (N, K) transposed, into out (B, N); B is a multiple of 4.

    In the thread that asks, unlike a matrix product of NumPy's, whose helpers wait for more work at full speed.
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
def regress(rows, columns, weights, vertices, out):
    """Points (B, R, 3): out[b, row] is the sum of weight * vertices[b, column], for (B, V, 3)."""
    out[:] = 0
    for b in range(vertices.shape[0]):
        for n in range(rows.size):
            for k in range(3):
                out[b, rows[n], k] += weights[n] * vertices[b, columns[n], k]


@jit
def skin(rest, transforms, joint, weight, out):
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
def lowest(vertices, up, out):
    """The least height of (B, V, 3) along `up` (B, 3), into (B,)."""
    for b in range(vertices.shape[0]):
        ux, uy, uz = up[b, 0], up[b, 1], up[b, 2]
        out[b] = np.inf
        for v in range(vertices.shape[1]):
            height = vertices[b, v, 0] * ux + vertices[b, v, 1] * uy + vertices[b, v, 2] * uz
            out[b] = min(out[b], height)


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
def dress(vertices, normals, template, look, plan, out):
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
