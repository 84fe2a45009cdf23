"""Compiled loops that paint what surrounds a person: sky, wall or backdrop, floor and shadow, things before and behind.

Images are (S, 3, S), the channels of a row one after the other, float32 in linear light. A row is made in passes over
it that are simple enough to be vectorised.

Shapes: S side of the image, M side of the shadow map, N pixels of a row.
"""

import numpy as np

from data_pipelines.synthetic.compiled import Struct, f32, i32, jit
from data_pipelines.synthetic.textures import surface

SKY, BACKDROP, FLOOR, WALL = range(4)


@jit
def paint_background(image: np.ndarray, intrinsics: np.ndarray, scene: Struct, shadow: np.ndarray) -> None:
    """Fills the image with sky, wall or backdrop, and with the floor and the person's shadow on it."""
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
    """The kind of surface that the rays of a row meet first, and its depth."""
    ux, wx, ground, wall = scene.up[0], scene.wall_normal[0], scene.ground, scene.wall
    rise_0, toward_0 = ry * scene.up[1] + scene.up[2], ry * scene.wall_normal[1] + scene.wall_normal[2]
    walled, nothing = scene.enclosure == 1, i32(BACKDROP if scene.enclosure == 1 else SKY)
    for j in range(rx.size):
        rise, toward = rx[j] * ux + rise_0, rx[j] * wx + toward_0
        floor_at = ground / rise if (rise * ground > f32(1e-9)) & (rise < f32(0)) else f32(1e6)
        wall_at = wall / toward if (toward > f32(1e-6)) & walled else f32(1e6)
        distance[j] = min(floor_at, wall_at)
        nearest = i32(FLOOR) if floor_at < wall_at else i32(WALL)
        kind[j] = nearest if distance[j] <= f32(9e5) else nothing


@jit
def _sky(rx, ry, scene, t):
    ux, rise_0, square = scene.up[0], ry * scene.up[1] + scene.up[2], ry * ry + f32(1)
    for j in range(t.size):
        t[j] = min(max((rx[j] * ux + rise_0) / np.sqrt(rx[j] * rx[j] + square) * f32(2.5), f32(0)), f32(1))


@jit
def _floor(distance, rx, ry, pitch, scene, u, v, t):
    """The share of the floor's second colour where the rays meet it; textures that are too fine for the pixels fade."""
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
def paint_shapes(image: np.ndarray, shapes: np.ndarray, seed: int, hidden: np.ndarray) -> None:
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
    """The first of `count` pixels of a row in a shape and the one after the last; a pixel moves (u, v) by (du, dv)."""
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
    """Position of pixels across a shape, -1 to 1 -> the light on them: bars are round, other shapes are planes."""
    square, linear, constant = (shade, f32(0), f32(0)) if kind == 3 else (f32(0), f32(0.5) * shade, f32(0.5) * shade)
    for j in range(light.size):
        light[j] = f32(1) - constant - light[j] * (linear + light[j] * square)
