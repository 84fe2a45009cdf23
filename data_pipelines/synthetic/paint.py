"""Compiled loops over the pixels of one image: background, person, things before and behind, and the sensor.

Images are (S, S, 3) float32 in linear light until `develop` turns them into 8-bit pictures.

Letters: S side of the image, V vertices, F faces, M side of the shadow map.
"""

import numba
import numpy as np

from data_pipelines.synthetic.textures import GRAIN, box_blur, f32, fabric, noise3, soften, surface
from hmr_jax.rendering.shading import corner_weights

jit = numba.njit(nogil=True, cache=True, fastmath=True)

SKIN, HAIR, TOP, BOTTOM, SHOE, WHITE, DARK, LIPS = range(8)


@jit
def zone_at(x, y, z, look, plan):
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
def zones_of(template, look, plan, out):
    """Zone of every vertex of the rest pose (V, 3) into out (V,)."""
    for v in range(template.shape[0]):
        out[v] = zone_at(template[v, 0], template[v, 1], template[v, 2], look, plan)


@jit
def paint_background(image, intrinsics, scene, shadow):
    """Fills the image with sky, wall or backdrop, and the floor with the person's shadow on it."""
    size, cells = image.shape[0], shadow.shape[0]
    focal, cx, cy = f32(intrinsics[0, 0]), f32(intrinsics[0, 2]), f32(intrinsics[1, 2])
    up, axes, sky, wall_normal = scene.up, scene.axes, scene.sky, scene.wall_normal
    floor_colors, back_colors = scene.floor.colors, scene.back.colors
    # Whole numbers times float32 would be float64.
    pitch, to_cell = f32(1) / focal, f32(cells) / f32(size)
    for row in range(size):
        ry, y_cell = (f32(row) + f32(0.5) - cy) * pitch, f32(row) * to_cell
        for column in range(size):
            rx = (f32(column) + f32(0.5) - cx) * pitch
            rise = rx * up[0] + ry * up[1] + up[2]
            toward = rx * wall_normal[0] + ry * wall_normal[1] + wall_normal[2]
            floor_at = scene.ground / rise if rise * scene.ground > f32(1e-9) and rise < 0 else f32(1e6)
            wall_at = scene.wall / toward if toward > f32(1e-6) and scene.enclosure == 1 else f32(1e6)
            # Pixels are written one number at a time: views of them would be counted references.
            if scene.enclosure == 2 or (floor_at > f32(9e5) and wall_at > f32(9e5)):
                if scene.enclosure == 0:
                    t = min(max(rise / np.sqrt(rx * rx + ry * ry + f32(1)) * f32(2.5), f32(0)), f32(1))
                    for k in range(3):
                        image[row, column, k] = sky[1, k] + t * (sky[0, k] - sky[1, k])
                else:
                    scale = scene.back.frequency / f32(size)
                    t = _blend(scene.back, f32(column) * scale, f32(row) * scale, scene.seed, f32(1))
                    fall = f32(1.2) - f32(0.6) * f32(row) / f32(size)
                    for k in range(3):
                        image[row, column, k] = fall * _mix(back_colors, k, t)
            elif floor_at < wall_at:
                x, y, z = floor_at * rx, floor_at * ry, floor_at
                frequency = scene.floor.frequency
                u = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]) * frequency
                v = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2]) * frequency
                blurred = frequency * floor_at / (focal * abs(rise))  # texture cells per pixel
                sharp = min(max(f32(1.3) - f32(1.5) * blurred, f32(0)), f32(1))
                t = _blend(scene.floor, u, v, scene.seed, sharp)
                bright = f32(1) - scene.shadow * _bilinear(shadow, y_cell, f32(column) * to_cell)
                haze = floor_at / (floor_at + f32(40)) if scene.enclosure == 0 else f32(0)
                for k in range(3):
                    lit = bright * _mix(floor_colors, k, t)
                    image[row, column, k] = lit + haze * (sky[1, k] - lit)
            else:
                x, y, z = wall_at * rx, wall_at * ry, wall_at
                u = x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]
                v = x * up[0] + y * up[1] + z * up[2] - scene.ground
                frequency = scene.back.frequency
                t = _blend(scene.back, u * frequency, v * frequency, scene.seed + 7, f32(1))
                skirting = f32(0.5) if v < f32(0.1) else f32(1)
                for k in range(3):
                    image[row, column, k] = skirting * _mix(back_colors, k, t)


@jit
def _blend(finish, u, v, seed, sharp):
    """How much of a finish's second colour is at (u, v)."""
    return finish.contrast * (f32(0.4) + sharp * (surface(finish.texture, f32(u), f32(v), seed) - f32(0.4)))


@jit
def _mix(colors, k, t):
    return colors[0, k] + t * (colors[1, k] - colors[0, k])


@jit
def _bilinear(field, row, column):
    last = field.shape[0] - 1
    row, column = min(max(row - f32(0.5), f32(0)), f32(last)), min(max(column - f32(0.5), f32(0)), f32(last))
    i, j = min(int(row), last - 1), min(int(column), last - 1)
    a, b = f32(row - i), f32(column - j)
    upper = field[i, j] * (f32(1) - b) + field[i, j + 1] * b
    lower = field[i + 1, j] * (f32(1) - b) + field[i + 1, j + 1] * b
    return upper * (f32(1) - a) + lower * a


@jit
def paint_shapes(image, shapes, seed, hidden):
    """Draws textured boxes, ellipses and bars; sets `hidden` (S, S) to 1 under them."""
    size = image.shape[0]
    pitch = f32(1) / f32(size)
    for n in range(shapes.shape[0]):
        shape = shapes[n]
        if shape.kind == 0:
            continue
        cosine, sine = f32(np.cos(shape.angle)), f32(np.sin(shape.angle))
        colors, per_u, per_v = shape.colors, f32(1) / shape.half[0], f32(1) / shape.half[1]
        reach_x = abs(cosine) * shape.half[0] + abs(sine) * shape.half[1]
        reach_y = abs(sine) * shape.half[0] + abs(cosine) * shape.half[1]
        top, bottom = max(0, int((shape.center[1] - reach_y) * size)), (shape.center[1] + reach_y) * size
        left, right = max(0, int((shape.center[0] - reach_x) * size)), (shape.center[0] + reach_x) * size
        for row in range(top, min(size, int(bottom) + 1)):
            for column in range(left, min(size, int(right) + 1)):
                x = (f32(column) + f32(0.5)) * pitch - shape.center[0]
                y = (f32(row) + f32(0.5)) * pitch - shape.center[1]
                u, v = (cosine * x + sine * y) * per_u, (cosine * y - sine * x) * per_v
                inside = abs(u) < f32(1) and abs(v) < f32(1)
                if shape.kind == 2:
                    inside = u * u + v * v < f32(1)
                if not inside:
                    continue
                frequency = shape.frequency
                t = surface(shape.texture, x * frequency, y * frequency, seed + n)
                light = f32(1) - shape.shade * (u * u if shape.kind == 3 else f32(0.5) + f32(0.5) * u)
                for k in range(3):
                    image[row, column, k] = light * _mix(colors, k, t)
                hidden[row, column] = 1


@jit
def paint_person(image, points, faces, face_index, normals, template, scene, look, plan):
    """Colours and lights the pixels in which `face_index` (S, S) is a triangle."""
    weight, rest, normal = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    light = np.empty(3, np.float32)
    for row in range(face_index.shape[0]):
        for column in range(face_index.shape[1]):
            f = face_index[row, column]
            if f < 0:
                continue
            corner_weights(points, faces, f, column, row, weight)
            for k in range(3):
                rest[k] = normal[k] = 0
                for i in range(3):
                    rest[k] += weight[i] * template[faces[f, i], k]
                    normal[k] += weight[i] * normals[faces[f, i], k]
            scale = f32(1) / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + f32(1e-12))
            for k in range(3):
                normal[k] *= scale
            zone = zone_at(rest[0], rest[1], rest[2], look, plan)
            gloss = _illuminate(light, normal, scene) * look.gloss
            fold = f32(1)
            if zone in (TOP, BOTTOM):
                gloss *= f32(0.2)
                x, y, z = rest[0] * f32(14), rest[1] * f32(9), rest[2] * f32(14)
                wave = noise3(x + look.fold_phase[0], y + look.fold_phase[1], z + look.fold_phase[2])
                fold += look.folds * (f32(2) * wave - f32(1))
                g = zone - TOP
                t = fabric(look.pattern[g], rest[0], rest[1], rest[2], look.direction[g], look.frequency[g])
            elif zone == HAIR:
                wave = noise3(rest[0] * f32(60), rest[1] * f32(25), rest[2] * f32(60))
                fold = f32(0.6) + f32(0.8) * wave
            for k in range(3):
                if zone in (TOP, BOTTOM):
                    color = look.cloth[zone - TOP, 0, k]
                    color += t * (look.cloth[zone - TOP, 1, k] - color)
                elif zone == SKIN:
                    color = look.skin[k]
                elif zone == HAIR:
                    color = look.hair[k]
                elif zone == SHOE:
                    color = look.shoes[k]
                elif zone == LIPS:
                    color = look.lips[k]
                else:
                    color = f32(0.6) if zone == WHITE else f32(0.01)
                image[row, column, k] = color * light[k] * fold + gloss


@jit
def _illuminate(out, normal, scene):
    """Light (3,) that a surface receives, into `out`; returns the strength of the highlight towards the camera."""
    up = normal[0] * scene.up[0] + normal[1] * scene.up[1] + normal[2] * scene.up[2]
    sky = f32(0.5) + f32(0.5) * up
    for k in range(3):
        out[k] = scene.ambient[1, k] + sky * (scene.ambient[0, k] - scene.ambient[1, k])
    shine = f32(0)
    for n in range(2):
        direction, color = scene.light[n], scene.light_color[n]
        cosine = normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]
        if cosine <= 0:
            continue
        mirrored = f32(2) * cosine * (-normal[2]) + direction[2]  # of the reflected ray along the view axis
        mirrored = max(mirrored, f32(0))
        shine += color[1] * mirrored**8
        for k in range(3):
            out[k] += cosine * color[k]
    return shine * f32(0.3)


@jit
def blur(image, amount):
    """Blurs in place by about `amount` pixels; below one pixel it only mixes in the neighbours."""
    if amount < f32(1):
        soften(image, f32(amount))
        return
    radius = int(amount + f32(0.5))
    box_blur(image, radius)
    box_blur(image, max(1, radius - 1))


@jit
def smear(image, motion, out):
    """Motion blur: the mean over a straight path of `motion` (2,) pixels, into out."""
    size = image.shape[0]
    taps = int(abs(motion[0]) + abs(motion[1])) + 2
    out[:] = 0
    for n in range(taps):
        t = f32(n) / f32(taps - 1) - f32(0.5)
        dx, dy = int(np.round(motion[0] * t)), int(np.round(motion[1] * t))
        for row in range(size):
            source = min(max(row + dy, 0), size - 1)
            for column in range(size):
                from_column = min(max(column + dx, 0), size - 1)
                for k in range(3):
                    out[row, column, k] += image[source, from_column, k] / f32(taps)


@jit
def develop(image, scene, out):
    """Exposure, tone curve, vignette, noise and quantisation: linear light to (S, S, 3) uint8."""
    size = image.shape[0]
    bend, noise, vignette = f32(1.5) * (f32(1) - scene.gamma), f32(scene.noise), f32(0.5) * scene.vignette
    # Loops along a row over all its channels, without branches, calls or divisions: they are vectorised.
    gain, edge = np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    for j in range(3 * size):
        x = f32(2 * (j // 3) - size) / f32(size)
        gain[j], edge[j] = scene.gain[j % 3], vignette * x * x
    rows, pictures = image.reshape(size, 3 * size), out.reshape(size, 3 * size)
    for i in range(size):
        y = f32(2 * i - size) / f32(size)
        dim = f32(1) - vignette * y * y
        start = (np.int64(scene.seed) * 7919 + i * 104_729) % (GRAIN.size // 3 - size)
        row, grain = rows[i], GRAIN[3 * start : 3 * (start + size)]
        for j in range(3 * size):
            s = min(np.sqrt(max(row[j] * gain[j] * (dim - edge[j]), f32(0))), f32(1.3))
            s += bend * s * (f32(1) - s) + noise * grain[j]
            row[j] = min(max(s * f32(255) + f32(0.5), f32(0)), f32(255))
        pictures[i] = row.astype(np.uint8)
