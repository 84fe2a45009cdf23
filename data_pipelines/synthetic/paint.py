"""Compiled loops over the pixels of one image: background, person, things before and behind, and the sensor.

Images are (S, S, 3) float32 in linear light until `develop` turns them into 8-bit pictures.

Letters: S side of the image, V vertices, F faces, M side of the shadow map.
"""

import numba
import numpy as np

from data_pipelines.synthetic.textures import box_blur, f32, fabric, hash01, noise3, surface
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
    focal = intrinsics[0, 0]
    for row in range(size):
        for column in range(size):
            rx = (f32(column) + f32(0.5) - intrinsics[0, 2]) / focal
            ry = (f32(row) + f32(0.5) - intrinsics[1, 2]) / focal
            rise = rx * scene.up[0] + ry * scene.up[1] + scene.up[2]
            toward = rx * scene.wall_normal[0] + ry * scene.wall_normal[1] + scene.wall_normal[2]
            floor_at = scene.ground / rise if rise * scene.ground > f32(1e-9) and rise < 0 else f32(1e6)
            wall_at = scene.wall / toward if toward > f32(1e-6) and scene.enclosure == 1 else f32(1e6)
            pixel = image[row, column]
            if scene.enclosure == 2 or (floor_at > f32(9e5) and wall_at > f32(9e5)):
                if scene.enclosure == 0:
                    t = min(max(rise / np.sqrt(rx * rx + ry * ry + f32(1)) * f32(2.5), f32(0)), f32(1))
                    for k in range(3):
                        pixel[k] = scene.sky[1, k] + t * (scene.sky[0, k] - scene.sky[1, k])
                else:
                    scale = scene.back.frequency / f32(size)
                    _mix(pixel, scene.back, column * scale, row * scale, scene.seed, f32(1))
                    fall = f32(1.2) - f32(0.6) * f32(row) / f32(size)
                    for k in range(3):
                        pixel[k] *= fall
            elif floor_at < wall_at:
                x, y, z = floor_at * rx, floor_at * ry, floor_at
                axes, frequency = scene.axes, scene.floor.frequency
                u = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]) * frequency
                v = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2]) * frequency
                blurred = frequency * floor_at / (focal * abs(rise))  # texture cells per pixel
                _mix(pixel, scene.floor, u, v, scene.seed, min(max(f32(1.3) - f32(1.5) * blurred, f32(0)), f32(1)))
                dark = scene.shadow * _bilinear(shadow, row * cells / size, column * cells / size)
                haze = floor_at / (floor_at + f32(40)) if scene.enclosure == 0 else f32(0)
                for k in range(3):
                    lit = pixel[k] * (f32(1) - dark)
                    pixel[k] = lit + haze * (scene.sky[1, k] - lit)
            else:
                x, y, z = wall_at * rx, wall_at * ry, wall_at
                u = x * scene.axes[0, 0] + y * scene.axes[0, 1] + z * scene.axes[0, 2]
                v = x * scene.up[0] + y * scene.up[1] + z * scene.up[2] - scene.ground
                frequency = scene.back.frequency
                _mix(pixel, scene.back, u * frequency, v * frequency, scene.seed + 7, f32(1))
                if v < f32(0.1):  # skirting board
                    for k in range(3):
                        pixel[k] *= f32(0.5)


@jit
def _mix(pixel, finish, u, v, seed, sharp):
    t = finish.contrast * (f32(0.4) + sharp * (surface(finish.texture, f32(u), f32(v), seed) - f32(0.4)))
    for k in range(3):
        pixel[k] = finish.colors[0, k] + t * (finish.colors[1, k] - finish.colors[0, k])


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
    for n in range(shapes.shape[0]):
        shape = shapes[n]
        if shape.kind == 0:
            continue
        cosine, sine = np.cos(shape.angle), np.sin(shape.angle)
        reach_x = abs(cosine) * shape.half[0] + abs(sine) * shape.half[1]
        reach_y = abs(sine) * shape.half[0] + abs(cosine) * shape.half[1]
        top, bottom = max(0, int((shape.center[1] - reach_y) * size)), (shape.center[1] + reach_y) * size
        left, right = max(0, int((shape.center[0] - reach_x) * size)), (shape.center[0] + reach_x) * size
        for row in range(top, min(size, int(bottom) + 1)):
            for column in range(left, min(size, int(right) + 1)):
                x = (f32(column) + f32(0.5)) / size - shape.center[0]
                y = (f32(row) + f32(0.5)) / size - shape.center[1]
                u, v = (cosine * x + sine * y) / shape.half[0], (cosine * y - sine * x) / shape.half[1]
                inside = abs(u) < f32(1) and abs(v) < f32(1)
                if shape.kind == 2:
                    inside = u * u + v * v < f32(1)
                if not inside:
                    continue
                frequency = shape.frequency
                t = surface(shape.texture, x * frequency, y * frequency, seed + n)
                light = f32(1) - shape.shade * (u * u if shape.kind == 3 else f32(0.5) + f32(0.5) * u)
                for k in range(3):
                    mixed = shape.colors[0, k] + t * (shape.colors[1, k] - shape.colors[0, k])
                    image[row, column, k] = mixed * light
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
    if amount >= f32(1):
        radius = int(amount + f32(0.5))
        box_blur(image, radius)
        box_blur(image, max(1, radius - 1))
        return
    size = image.shape[0]
    side, middle = f32(0.25) * amount, f32(1) - f32(0.5) * amount
    for axis in range(2):
        for i in range(size):
            for c in range(3):
                before = image[i, 0, c] if axis == 0 else image[0, i, c]
                for j in range(size - 1):
                    here = image[i, j, c] if axis == 0 else image[j, i, c]
                    after = image[i, j + 1, c] if axis == 0 else image[j + 1, i, c]
                    mixed = middle * here + side * (before + after)
                    if axis == 0:
                        image[i, j, c] = mixed
                    else:
                        image[j, i, c] = mixed
                    before = here


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
    bend = f32(1) - scene.gamma
    for row in range(size):
        y = f32(2 * row - size) / f32(size)
        for column in range(size):
            x = f32(2 * column - size) / f32(size)
            dim = f32(1) - scene.vignette * f32(0.5) * (x * x + y * y)
            bits = np.int64(hash01(row, column, scene.seed) * f32(16777216))
            grain = f32(bits & 255) / f32(255) - f32(0.5)
            for k in range(3):
                s = np.sqrt(max(image[row, column, k] * scene.gain[k] * dim, f32(0)))
                s = min(s, f32(1.3))
                s += f32(1.5) * bend * s * (f32(1) - s)
                bits = (bits * 1103515245 + 12345) & 0x7FFFFFFF
                s += scene.noise * (grain + f32(bits >> 8) * f32(2 / 8388608) - f32(1))
                out[row, column, k] = np.uint8(min(max(s * f32(255) + f32(0.5), f32(0)), f32(255)))
