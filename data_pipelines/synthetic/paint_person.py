"""Compiled loops that paint a person: what covers each point of the body, its colours, and the light on it.

Images are (S, 3, S), the channels of a row one after the other, float32 in linear light. Pixels are coloured in passes
that are simple enough to be vectorised.

Shapes: S side of the image, N pixels.
"""

import numpy as np

from data_pipelines.synthetic.compiled import Struct, f32, jit
from data_pipelines.synthetic.textures import fabric, noise3
from hmr_jax.rendering.shading import corner_weights

SKIN, HAIR, TOP, BOTTOM, SHOE, WHITE, DARK, LIPS = range(8)
RUN = 1024  # pixels that are coloured together


@jit
def zone_at(x: float, y: float, z: float, look: Struct, plan: Struct) -> int:
    """What covers the body at a rest-pose position: one of the constants above."""
    side = abs(x)
    if side > plan.shoulder_x and y > plan.arm_y:
        return TOP if side < look.sleeve or side > look.glove else SKIN
    if y > plan.chin_y or (y > plan.neck_y and z > plan.head[2]):
        return _face_at(x, y, z, look, plan)
    if z < plan.head[2] - f32(0.03) and y > look.hair_length and side < f32(0.1):
        return HAIR
    if y > look.neckline - f32(0.12):
        drop = look.neckline + look.neck_slope * side if z > f32(0.02) else look.neckline + f32(0.07)
        return SKIN if y > drop else TOP
    if y > look.waist:
        return TOP
    if y > look.hem:
        return BOTTOM
    return SHOE if y < look.shoe_top else SKIN


@jit
def _face_at(x, y, z, look, plan):
    hx, hy, hz = x - plan.head[0], y - plan.head[1], z - plan.head[2]
    if hy * look.hair_tilt[0] - hz * look.hair_tilt[1] > look.hair_line + f32(0.3) * abs(hx):
        return HAIR
    if hz < f32(0.02):
        return SKIN
    for k in range(2):
        dx, dy = x - plan.eyes[k, 0], y - plan.eyes[k, 1]
        if look.glasses > 0 and dx * dx + dy * dy < f32(0.0006):
            return DARK
        eye = dx * dx * f32(4500) + dy * dy * f32(16000)
        if eye < f32(1):
            return DARK if dx * dx + dy * dy < f32(0.00005) else WHITE
        if abs(dx) < f32(0.02) and f32(0.014) < dy < f32(0.021):
            return HAIR
    dy = y - plan.mouth_y
    if abs(x) < f32(0.026) and abs(dy) < f32(0.007):
        return LIPS
    if look.beard > 0 and y < plan.nose[1] - f32(0.012) and hz > f32(0.01):
        return HAIR
    return SKIN


@jit
def paint_person(
    image: np.ndarray,
    parts: np.ndarray,
    points: np.ndarray,
    faces: np.ndarray,
    owners: np.ndarray,
    face_index: np.ndarray,
    normals: np.ndarray,
    template: np.ndarray,
    scene: Struct,
    look: Struct,
    plan: Struct,
) -> None:
    """Colours and lights the pixels in which `face_index` (S, S) is a triangle; writes 1 + the owner into `parts`."""
    size = face_index.shape[0]
    rows, columns, count = np.empty(size * size + 1, np.int32), np.empty(size * size + 1, np.int32), 0
    for i in range(size):
        for j in range(size):
            rows[count], columns[count] = i, j
            count += face_index[i, j] >= 0
    rest, normal, light = np.empty((3, RUN), np.float32), np.empty((3, RUN), np.float32), np.empty((3, RUN), np.float32)
    zone, gloss, fold = np.empty(RUN, np.uint8), np.empty(RUN, np.float32), np.empty(RUN, np.float32)
    colors, relief = _palette(look)
    for start in range(0, count, RUN):
        end = min(start + RUN, count)
        row, column = rows[start:end], columns[start:end]
        _surface_points(row, column, points, faces, face_index, normals, template, rest, normal, owners, parts)
        for n in range(end - start):
            zone[n] = zone_at(rest[0, n], rest[1, n], rest[2, n], look, plan)
        _illuminate(normal, scene, light, gloss[: end - start])
        _fold(rest, zone, relief, look.fold_phase, normal, fold[: end - start])
        _color(row, column, rest, zone, colors, relief, look, light, fold, gloss, image)


@jit
def _surface_points(row, column, points, faces, face_index, normals, template, rest, normal, owners, parts):
    """Rest-pose positions and normals (3, N or more) of the surface at the pixels (N,), and their parts."""
    weight = np.empty(3, np.float32)
    for n in range(row.size):
        face = face_index[row[n], column[n]]
        corner_weights(points, faces, face, column[n], row[n], weight)
        p, q, r = weight[0], weight[1], weight[2]
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        for k in range(3):
            rest[k, n] = p * template[a, k] + q * template[b, k] + r * template[c, k]
            normal[k, n] = p * normals[a, k] + q * normals[b, k] + r * normals[c, k]
        nearest = b if q > p else a
        nearest = c if r > max(p, q) else nearest
        parts[row[n], column[n]] = 1 + owners[nearest]


@jit
def _color(row, column, rest, zone, colors, relief, look, light, fold, gloss, image):
    patterns, directions, frequencies = look.pattern, look.direction, look.frequency
    for n in range(row.size):
        z, t = zone[n], f32(0)
        if z in (TOP, BOTTOM):
            g = z - TOP
            t = fabric(patterns[g], rest[0, n], rest[1, n], rest[2, n], directions, g, frequencies[g])
        shine = gloss[n] * relief[z, 5]
        for k in range(3):
            color = colors[z, 0, k] + t * (colors[z, 1, k] - colors[z, 0, k])
            image[row[n], k, column[n]] = color * light[k, n] * fold[n] + shine


@jit
def _palette(look):
    """Colours (8, 2, 3) of every zone, and (8, 6): scales (3,) of its folds, their mean and depth, and the gloss."""
    colors, relief = np.empty((8, 2, 3), np.float32), np.zeros((8, 6), np.float32)
    for tone in range(2):
        for k in range(3):  # one by one: with assignments of arrays Numba compiles the text of their errors
            colors[SKIN, tone, k], colors[HAIR, tone, k] = look.skin[k], look.hair[k]
            colors[SHOE, tone, k], colors[LIPS, tone, k] = look.shoes[k], look.lips[k]
            colors[WHITE, tone, k], colors[DARK, tone, k] = f32(0.6), f32(0.01)
            colors[TOP, tone, k], colors[BOTTOM, tone, k] = look.cloth[0, tone, k], look.cloth[1, tone, k]
    for zone in range(8):
        relief[zone, 3], relief[zone, 5] = f32(1), look.gloss
    for zone in (TOP, BOTTOM):
        relief[zone, 0], relief[zone, 1], relief[zone, 2] = f32(14), f32(9), f32(14)
        relief[zone, 3], relief[zone, 4] = f32(1) - look.folds, f32(2) * look.folds
        relief[zone, 5] = f32(0.2) * look.gloss
    relief[HAIR, 0], relief[HAIR, 1], relief[HAIR, 2], relief[HAIR, 3], relief[HAIR, 4] = 60, 25, 60, 0.6, 0.8
    return colors, relief


@jit
def _illuminate(normal, scene, light, shine):
    """Light (3, N or more) on surfaces with these normals, not of unit length, and highlights (N,) to the camera."""
    x, y, z = normal[0], normal[1], normal[2]
    for n in range(shine.size):
        scale = f32(1) / np.sqrt(x[n] * x[n] + y[n] * y[n] + z[n] * z[n] + f32(1e-12))
        x[n], y[n], z[n] = x[n] * scale, y[n] * scale, z[n] * scale
        shine[n] = f32(0)
    ux, uy, uz = scene.up[0], scene.up[1], scene.up[2]
    for k in range(3):
        out, below, above = light[k], scene.ambient[1, k], scene.ambient[0, k]
        for n in range(shine.size):
            sky = f32(0.5) + f32(0.5) * (x[n] * ux + y[n] * uy + z[n] * uz)
            out[n] = below + sky * (above - below)
    for lamp in range(2):
        color = scene.light_color[lamp]
        if color[0] > 0:
            _add_lamp(normal, scene.light[lamp], color, light, shine)


@jit
def _add_lamp(normal, direction, color, light, shine):
    x, y, z, red, green, blue = normal[0], normal[1], normal[2], light[0], light[1], light[2]
    dx, dy, dz, r, g, b = direction[0], direction[1], direction[2], color[0], color[1], color[2]
    for n in range(shine.size):
        cosine = max(x[n] * dx + y[n] * dy + z[n] * dz, f32(0))
        mirrored = max(dz - f32(2) * cosine * z[n], f32(0))  # of the reflected ray along the view axis
        fourth = mirrored * mirrored * mirrored * mirrored
        shine[n] += f32(0.3) * g * fourth * fourth if cosine > f32(0) else f32(0)
        red[n] += cosine * r
        green[n] += cosine * g
        blue[n] += cosine * b


@jit
def _fold(rest, zone, relief, phase, scratch, fold):
    """Brightness of cloth and hair (N,) at rest-pose positions (3, N or more); scratch (3, N or more)."""
    px, py, pz = phase[0], phase[1], phase[2]
    x, y, z = scratch[0], scratch[1], scratch[2]
    for n in range(fold.size):
        kind = zone[n]
        x[n] = rest[0, n] * relief[kind, 0] + px
        y[n] = rest[1, n] * relief[kind, 1] + py
        z[n] = rest[2, n] * relief[kind, 2] + pz
    _noise(x, y, z, fold)
    for n in range(fold.size):
        fold[n] = relief[zone[n], 3] + relief[zone[n], 4] * fold[n]


@jit
def _noise(x, y, z, out):
    for n in range(out.size):
        out[n] = noise3(x[n], y[n], z[n])
