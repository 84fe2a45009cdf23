"""Compiled procedural textures: value noise, fabric patterns and surfaces.

Loops over one row of an image stand in functions of their own, without branches, calls or divisions where possible:
there the compiler sees that arrays do not overlap, and vectorises. Numba widens whole numbers, so they are cast back to
32 bits after each operation.

Shapes: N points of a row.
"""

import numpy as np

from data_pipelines.synthetic.compiled import Number, f32, i32, jit, part, u32

_PRIMES = (u32(0x9E3779B1), u32(0x85EBCA77), u32(0xC2B2AE3D))
_MIX = u32(0x2C1B3C6D)


@part
def _chance(row, column):
    """A fixed random number in [0, 1) for a cell, by the 32-bit keys of its row and column."""
    key = u32(row ^ column)
    key = u32(u32(key ^ u32(key >> u32(15))) * _MIX)
    key = u32(key ^ u32(key >> u32(13)))
    return f32(i32(u32(key >> u32(8)))) * f32(2**-24)


@part
def _row_key(i):
    return u32(u32(i32(i)) * _PRIMES[0])


@part
def _column_key(j, seed):
    return u32(u32(u32(i32(j)) * _PRIMES[1]) + u32(u32(seed) * _PRIMES[2]))


@part
def _tone(i, j, seed):
    """A fixed random number in [0, 1) for a cell."""
    return _chance(_row_key(i), _column_key(j, seed))


@part
def smooth(t: Number) -> Number:
    """The cubic step from 0 to 1, with slope 0 at both ends."""
    return t * t * (f32(3) - f32(2) * t)


@part
def noise2(x: Number, y: Number, seed: Number) -> Number:
    """Value noise in the plane, [0, 1), one feature per unit."""
    x, y = f32(x), f32(y)
    fx, fy = np.floor(x), np.floor(y)
    u, v = smooth(x - fx), smooth(y - fy)
    row, column = _row_key(fx), _column_key(fy, seed)
    next_row, next_column = u32(row + _PRIMES[0]), u32(column + _PRIMES[1])
    a, b = _chance(row, column), _chance(next_row, column)
    c, d = _chance(row, next_column), _chance(next_row, next_column)
    low, high = a + u * (b - a), c + u * (d - c)
    return low + v * (high - low)


@part
def noise3(x: Number, y: Number, z: Number) -> Number:
    """Value noise in space, [0, 1), one feature per unit."""
    z = f32(z)
    fz = np.floor(z)
    w, layer = smooth(z - fz), i32(fz)
    return noise2(x, y, layer) * (f32(1) - w) + noise2(x, y, i32(layer + i32(1))) * w


@jit
def fabric(
    pattern: int, x: float, y: float, z: float, directions: np.ndarray, garment: int, frequency: float
) -> Number:
    """The share of a fabric's second colour at a rest-pose position, 0 to 1; patterns as `appearance.PATTERNS`."""
    if pattern == 0:
        return f32(0)
    if pattern == 5:  # a printed panel on the chest
        return f32(1) if abs(x) < f32(0.09) and z > 0 and f32(0.22) < y < f32(0.38) else f32(0)
    dx, dy, dz = directions[garment, 0], directions[garment, 1], directions[garment, 2]
    t = (x * dx + y * dy + z * dz) * frequency
    stripe = t - np.floor(t) < f32(0.45)
    if pattern == 1:
        return f32(1) if stripe else f32(0)
    if pattern == 2:
        s = (x * dy - y * dx + z * f32(0.5)) * frequency
        return f32(0.5) * (f32(stripe) + f32(s - np.floor(s) < f32(0.45)))
    if pattern == 3:
        u, v = x * frequency - np.floor(x * frequency) - f32(0.5), y * frequency - np.floor(y * frequency) - f32(0.5)
        return f32(1) if u * u + v * v < f32(0.08) else f32(0)
    n = noise3(x * frequency * f32(0.6), y * frequency * f32(0.6), z * frequency * f32(0.6))
    return smooth(min(max((n - f32(0.4)) * f32(6), f32(0)), f32(1)))


@jit
def surface(texture: int, x: np.ndarray, y: np.ndarray, seed: int, out: np.ndarray) -> None:
    """The share of a surface's second colour at the points (x, y) of a row, 0 to 1; textures as `scenes.TEXTURES`."""
    if texture == 0:
        for n in range(out.size):
            out[n] = f32(0.3) * noise2(x[n] * f32(0.7), y[n] * f32(0.7), seed)
    elif texture == 1:
        for n in range(out.size):
            i, j = i32(np.floor(x[n])), i32(np.floor(y[n]))
            out[n] = f32(0.85) * f32(i32(i32(i + j) & i32(1))) + f32(0.15) * _tone(i, j, seed)
    elif texture == 2:  # planks: long cells with their own tone and a dark joint
        for n in range(out.size):
            i = np.floor(x[n])
            joint = f32(1) if x[n] - i < f32(0.06) else f32(0)
            out[n] = max(joint, f32(0.6) * _tone(i, np.floor(y[n] * f32(0.2) + i * f32(0.37)), seed))
    elif texture == 3:
        for n in range(out.size):
            out[n] = f32(0.5) * noise2(x[n], y[n], seed) + f32(0.3) * noise2(x[n] * f32(2.7), y[n] * f32(2.7), seed + 1)
        for n in range(out.size):
            out[n] += f32(0.2) * noise2(x[n] * f32(7.3), y[n] * f32(7.3), seed + 2)
    elif texture == 4:  # bricks
        for n in range(out.size):
            j = np.floor(y[n])
            shifted = x[n] * f32(0.5) + f32(0.5) * f32(i32(i32(j) & i32(1)))
            k = np.floor(shifted)
            brick = f32(0.35) * _tone(k, j, seed)
            brick = f32(1) if shifted - k < f32(0.06) else brick
            out[n] = f32(1) if y[n] - j < f32(0.12) else brick
    else:
        for n in range(out.size):
            blotch = noise2(x[n] * f32(0.8), y[n] * f32(0.8), seed)
            out[n] = smooth(min(max((blotch - f32(0.45)) * f32(8), f32(0)), f32(1)))
