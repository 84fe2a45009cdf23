"""Compiled loops over the pixels of one image: background, person, things before and behind, and the sensor.

Images are (S, 3, S), the channels of a row one after the other, float32 in linear light until `develop` turns them into
8-bit images. A row is made in passes over it that are simple enough to be vectorised.

Shapes: S side of the image, V vertices, F faces, M side of the shadow map, N pixels of a row.
"""

import numba
import numpy as np

from data_pipelines.synthetic.textures import GRAIN, box_blur, f32, fabric, i32, noise3, soften_row, surface
from hmr_jax.rendering.shading import corner_weights

jit = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")

SKIN, HAIR, TOP, BOTTOM, SHOE, WHITE, DARK, LIPS = range(8)
SKY, BACKDROP, FLOOR, WALL = range(4)
RUN = 1024  # pixels of the person that are coloured together


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
def paint_background(image, intrinsics, scene, shadow):
    """Fills the image with sky, wall or backdrop, and the floor with the person's shadow on it."""
    size = image.shape[0]
    rx, kind, distance = np.empty(size, np.float32), np.empty(size, np.int32), np.empty(size, np.float32)
    scratch = np.empty((4, size), np.float32)
    u, v, t, light = scratch[0], scratch[1], scratch[2], scratch[3]
    pitch, to_cell = f32(1) / f32(intrinsics[0, 0]), f32(shadow.shape[0]) / f32(size)
    for column in range(size):
        rx[column] = (f32(column) + f32(0.5) - f32(intrinsics[0, 2])) * pitch
    for row in range(size):
        ry = (f32(row) + f32(0.5) - f32(intrinsics[1, 2])) * pitch
        if scene.enclosure == 2:
            kind[:] = BACKDROP
        else:
            _first_hit(rx, ry, scene, kind, distance)
        end = 0
        while end < size:
            start, end = end, end + 1
            while end < size and kind[end] == kind[start]:
                end += 1
            line, count = image[row], end - start
            if kind[start] == SKY:
                _sky(rx[start:end], ry, scene, t[:count])
                light[:count] = f32(1)
                _mix(t[:count], light, scene.sky[1], scene.sky[0], line, start)
            elif kind[start] == FLOOR:
                near = distance[start:end]
                _floor(near, rx[start:end], ry, pitch, scene, u[:count], v[:count], t[:count])
                _shade(shadow, f32(row) * to_cell, start, to_cell, scene.shadow, light[:count])
                _mix(t[:count], light, scene.floor.colors[0], scene.floor.colors[1], line, start)
                if scene.enclosure == 0:
                    _haze(near, scene.sky[1], line, start)
            else:
                if kind[start] == WALL:
                    _on_wall(distance[start:end], rx[start:end], ry, scene, u[:count], v[:count], light[:count])
                else:
                    scale = scene.back.frequency / f32(size)
                    for j in range(count):
                        u[j] = f32(start + j) * scale
                    v[:count], light[:count] = f32(row) * scale, f32(1.2) - f32(0.6) * f32(row) / f32(size)
                surface(scene.back.texture, u[:count], v[:count], scene.seed + 7 * (kind[start] == WALL), t[:count])
                _contrast(scene.back.contrast, t[:count])
                _mix(t[:count], light, scene.back.colors[0], scene.back.colors[1], line, start)


@jit
def _first_hit(rx, ry, scene, kind, distance):
    """What the rays of a row meet first, and at which depth."""
    ux, wx, ground, wall = scene.up[0], scene.wall_normal[0], scene.ground, scene.wall
    rise_0, toward_0 = ry * scene.up[1] + scene.up[2], ry * scene.wall_normal[1] + scene.wall_normal[2]
    walled, nothing = scene.enclosure == 1, i32(BACKDROP if scene.enclosure == 1 else SKY)
    for j in range(rx.size):
        rise, toward = rx[j] * ux + rise_0, rx[j] * wx + toward_0
        floor_at = ground / rise if (rise * ground > f32(1e-9)) & (rise < f32(0)) else f32(1e6)
        wall_at = wall / toward if (toward > f32(1e-6)) & walled else f32(1e6)
        distance[j] = min(floor_at, wall_at)
        solid = i32(FLOOR) if floor_at < wall_at else i32(WALL)
        kind[j] = solid if distance[j] <= f32(9e5) else nothing


@jit
def _sky(rx, ry, scene, t):
    ux, rise_0, square = scene.up[0], ry * scene.up[1] + scene.up[2], ry * ry + f32(1)
    for j in range(t.size):
        t[j] = min(max((rx[j] * ux + rise_0) / np.sqrt(rx[j] * rx[j] + square) * f32(2.5), f32(0)), f32(1))


@jit
def _floor(distance, rx, ry, pitch, scene, u, v, t):
    """How much of the floor's second colour is where the rays meet it; what is too fine for the pixels fades."""
    axes, frequency, ux, rise_0 = scene.axes, scene.floor.frequency, scene.up[0], ry * scene.up[1] + scene.up[2]
    ax, a0 = axes[0, 0] * frequency, (ry * axes[0, 1] + axes[0, 2]) * frequency
    bx, b0 = axes[1, 0] * frequency, (ry * axes[1, 1] + axes[1, 2]) * frequency
    for j in range(t.size):
        u[j], v[j] = distance[j] * (rx[j] * ax + a0), distance[j] * (rx[j] * bx + b0)
    surface(scene.floor.texture, u, v, np.int64(scene.seed), t)
    cells, contrast = frequency * pitch, scene.floor.contrast  # of the texture per pixel, at distance 1 head on
    for j in range(t.size):
        blurred = cells * distance[j] / abs(rx[j] * ux + rise_0)
        sharp = min(max(f32(1.3) - f32(1.5) * blurred, f32(0)), f32(1))
        t[j] = contrast * (f32(0.4) + sharp * (t[j] - f32(0.4)))


@jit
def _on_wall(distance, rx, ry, scene, u, v, light):
    axes, up, frequency, lowest = scene.axes, scene.up, scene.back.frequency, scene.ground
    ax, a0, ux, u0 = axes[0, 0], ry * axes[0, 1] + axes[0, 2], up[0], ry * up[1] + up[2]
    for j in range(u.size):
        height = distance[j] * (rx[j] * ux + u0) - lowest
        light[j] = f32(0.5) if height < f32(0.1) else f32(1)  # the skirting board
        u[j], v[j] = distance[j] * (rx[j] * ax + a0) * frequency, height * frequency


@jit
def _contrast(contrast, t):
    for j in range(t.size):
        t[j] = contrast * t[j]


@jit
def _haze(distance, color, line, start):
    for k in range(3):
        tone, out = color[k], line[k, start : start + distance.size]
        for j in range(out.size):
            out[j] += distance[j] / (distance[j] + f32(40)) * (tone - out[j])


@jit
def _mix(t, light, first, second, line, start):
    """Two colours mixed as t (N,) says, times the light (N or more,), into a line (3, S) from a column on."""
    for k in range(3):
        color, change, out = first[k], second[k] - first[k], line[k, start : start + t.size]
        for j in range(out.size):
            out[j] = light[j] * (color + t[j] * change)


@jit
def _shade(shadow, row, start, to_cell, strength, light):
    """The light that the shadow map (M, M) leaves at a row of pixels, the first in column `start`."""
    last = shadow.shape[0] - 1
    row = min(max(row - f32(0.5), f32(0)), f32(last))
    i = min(int(row), last - 1)
    a = row - f32(i)
    line, darkest = np.empty(last + 1, np.float32), f32(0)
    for j in range(last + 1):
        line[j] = strength * (shadow[i, j] + a * (shadow[i + 1, j] - shadow[i, j]))
        darkest = max(darkest, line[j])
    light[:] = f32(1)
    if darkest == f32(0):
        return
    for n in range(light.size):
        column = min(max(f32(start + n) * to_cell - f32(0.5), f32(0)), f32(last))
        j = min(int(column), last - 1)
        light[n] -= line[j] + (column - f32(j)) * (line[j + 1] - line[j])


@jit
def paint_shapes(image, shapes, seed, hidden):
    """Draws textured boxes, ellipses and bars; sets `hidden` (S, S) to 1 under them."""
    scratch = np.empty((4, image.shape[0]), np.float32)
    for n in range(shapes.shape[0]):
        if shapes[n].kind > 0:
            _paint_shape(image, shapes[n], seed + n, hidden, scratch)


@jit
def _paint_shape(image, shape, seed, hidden, scratch):
    size, pitch = image.shape[0], f32(1) / f32(image.shape[0])
    x, y, t, light = scratch[0], scratch[1], scratch[2], scratch[3]
    cosine, sine = f32(np.cos(shape.angle)), f32(np.sin(shape.angle))
    per_u, per_v = f32(1) / shape.half[0], f32(1) / shape.half[1]
    reach_x = abs(cosine) * shape.half[0] + abs(sine) * shape.half[1]
    reach_y = abs(sine) * shape.half[0] + abs(cosine) * shape.half[1]
    top, bottom = max(0, int((shape.center[1] - reach_y) * size)), (shape.center[1] + reach_y) * size
    left, right = max(0, int((shape.center[0] - reach_x) * size)), (shape.center[0] + reach_x) * size
    left_x, frequency = (f32(left) + f32(0.5)) * pitch - shape.center[0], shape.frequency
    for row in range(top, min(size, int(bottom) + 1)):
        down = (f32(row) + f32(0.5)) * pitch - shape.center[1]
        # Where u and v are in the shape's own axes, from -1 to 1, at the left end and per pixel.
        u0, v0 = (cosine * left_x + sine * down) * per_u, (cosine * down - sine * left_x) * per_v
        du, dv = cosine * pitch * per_u, -sine * pitch * per_v
        start, end = _inside(shape.kind, u0, v0, du, dv, min(size, int(right) + 1) - left)
        count = end - start
        if count <= 0:
            continue
        u0, first = u0 + f32(start) * du, (left_x + f32(start) * pitch) * frequency
        y[:count] = down * frequency
        _ramp(first, pitch * frequency, x[:count])
        surface(shape.texture, x[:count], y[:count], seed, t[:count])
        _ramp(u0, du, light[:count])
        _round(shape.kind, shape.shade, light[:count])
        _mix(t[:count], light, shape.colors[0], shape.colors[1], image[row], left + start)
        hidden[row, left + start : left + end] = 1


@jit
def _inside(kind, u, v, du, dv, count):
    """The first of `count` pixels of a row that is in a shape, and the one after the last; (u, v) moves by (du, dv)."""
    start, end = 0, count
    while start < end and not _covers(kind, u + f32(start) * du, v + f32(start) * dv):
        start += 1
    while end > start and not _covers(kind, u + f32(end - 1) * du, v + f32(end - 1) * dv):
        end -= 1
    return start, end


@jit
def _covers(kind, u, v):
    return u * u + v * v < f32(1) if kind == 2 else max(abs(u), abs(v)) < f32(1)


@jit
def _ramp(first, step, out):
    for j in range(out.size):
        out[j] = first + f32(i32(j)) * step


@jit
def _round(kind, shade, light):
    """From where pixels are across a shape, -1 to 1, to the light on them: bars are round, the rest is flat."""
    square, linear, constant = (shade, f32(0), f32(0)) if kind == 3 else (f32(0), f32(0.5) * shade, f32(0.5) * shade)
    for j in range(light.size):
        light[j] = f32(1) - constant - light[j] * (linear + light[j] * square)


@jit
def paint_person(image, parts, points, faces, owners, face_index, normals, template, scene, look, plan):
    """Colours and lights the pixels in which `face_index` (S, S) is a triangle; writes 1 + the owner into `parts`."""
    size = face_index.shape[0]
    rows, columns, count = np.empty(size * size + 1, np.int32), np.empty(size * size + 1, np.int32), 0
    for row in range(size):
        for column in range(size):
            rows[count], columns[count] = row, column
            count += face_index[row, column] >= 0
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
    """Rest-pose position and normal (3, N or more) of what the pixels (N,) show, and their parts."""
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
    """Darker and lighter places in cloth and hair (N,) at rest-pose positions (3, N or more); scratch (3, S)."""
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


@jit
def blur(image, amount):
    """Blurs in place by about `amount` pixels, at least one."""
    radius = int(amount + f32(0.5))
    box_blur(image, radius)
    box_blur(image, max(1, radius - 1))


@jit
def soften(image, amount, out):
    """Blurs by `amount` pixels, less than one, into out."""
    padded = np.empty(image.shape[2] + 2, np.float32)
    for row in range(image.shape[0]):
        soften_row(image, row, amount, padded, out[row])


@jit
def smear(image, motion, out):
    """Motion blur: the mean over a straight path of `motion` (2,) pixels, into out."""
    size = image.shape[0]
    taps = int(abs(motion[0]) + abs(motion[1])) + 2
    share = f32(1) / f32(taps)
    out[:] = 0
    for row in range(size):
        for n in range(taps):
            t = f32(n) / f32(taps - 1) - f32(0.5)
            dx, dy = int(np.round(motion[0] * t)), int(np.round(motion[1] * t))
            source = image[min(max(row + dy, 0), size - 1)]
            for k in range(3):
                _add_moved(source[k], dx, share, out[row, k])


@jit
def _add_moved(line, by, share, out):
    """Adds a share of a line (S,), moved to the left, its ends repeated."""
    size = out.size
    start, end = max(0, -by), size - max(0, by)
    for j in range(start):
        out[j] += line[0] * share
    for j in range(end, size):
        out[j] += line[size - 1] * share
    _add(line[start + by : end + by], share, out[start:end])


@jit
def _add(line, share, out):
    for j in range(out.size):
        out[j] += line[j] * share


@jit
def develop(image, soft, scene, out):
    """Exposure, tone curve, vignette, noise and quantisation: linear light to (S, S, 3) uint8.

    `soft`: pixels, less than 1, by which the image is blurred first.
    """
    size = image.shape[0]
    bend, noise, vignette = f32(1.5) * (f32(1) - scene.gamma), f32(scene.noise), f32(0.5) * scene.vignette
    edge, padded, line = np.empty(size, np.float32), np.empty(size + 2, np.float32), np.empty((3, size), np.float32)
    levels = np.empty((3, size), np.uint8)
    for j in range(size):
        x = f32(2 * j - size) / f32(size)
        edge[j] = vignette * x * x
    for i in range(size):
        y = f32(2 * i - size) / f32(size)
        start = (np.int64(scene.seed) * 7919 + i * 104_729) % (GRAIN.shape[1] - size)
        soften_row(image, i, soft, padded, line)
        for k in range(3):
            grain = GRAIN[k, start : start + size]
            _expose(line[k], scene.gain[k], f32(1) - vignette * y * y, edge, bend, noise, grain, levels[k])
        _interleave(levels[0], levels[1], levels[2], out[i])


@jit
def _expose(line, gain, dim, edge, bend, noise, grain, out):
    for j in range(out.size):
        s = min(np.sqrt(max(line[j] * gain * (dim - edge[j]), f32(0))), f32(1.3))
        s += bend * s * (f32(1) - s) + noise * grain[j]
        out[j] = np.uint8(i32(min(max(s * f32(255) + f32(0.5), f32(0)), f32(255))))


@jit
def _interleave(red, green, blue, out):
    for j in range(red.size):
        out[j, 0], out[j, 1], out[j, 2] = red[j], green[j], blue[j]
