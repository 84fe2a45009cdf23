"""Compiled procedural textures: value noise, fabric patterns, surfaces; each a function of a position.

Letters: none; everything is a scalar.
"""

import numba
import numpy as np

jit = numba.njit(nogil=True, cache=True, fastmath=True)

f32 = np.float32


@jit
def hash01(a, b, c):
    """A fixed pseudo-random number in [0, 1) for three integers."""
    h = np.int64(a) * 0x8DA6B343 ^ np.int64(b) * 0xD8163841 ^ np.int64(c) * 0xCB1AB31F
    h = (h ^ (h >> 15)) * 0x2C1B3C6D
    h = (h ^ (h >> 12)) * 0x297A2D39
    return f32(((h ^ (h >> 15)) >> 8) & 0xFFFFFF) * f32(1 / 16777216)


LATTICE = np.random.Generator(np.random.Philox(0)).random((64, 64), np.float32)  # faster to look up than to hash


@jit
def _lattice(i, j):
    return LATTICE[i & 63, j & 63]


@jit
def smooth(t):
    """The cubic step: 0 and 1 stay, with no slope there."""
    return t * t * (f32(3) - f32(2) * t)


@jit
def noise2(x, y, seed):
    """Value noise in the plane, [0, 1), one feature per unit."""
    x, y = f32(x), f32(y)
    fx, fy = np.floor(x), np.floor(y)
    i, j = np.int64(fx) + 37 * np.int64(seed), np.int64(fy) + 23 * np.int64(seed)
    u, v = smooth(x - fx), smooth(y - fy)
    a, b = _lattice(i, j), _lattice(i + 1, j)
    c, d = _lattice(i, j + 1), _lattice(i + 1, j + 1)
    low, high = a + u * (b - a), c + u * (d - c)
    return low + v * (high - low)


@jit
def noise3(x, y, z):
    """Value noise in space, [0, 1), one feature per unit."""
    fz = np.floor(z)
    w = smooth(f32(z - fz))
    return noise2(x, y, int(fz)) * (f32(1) - w) + noise2(x, y, int(fz) + 1) * w


@jit
def fabric(pattern, x, y, z, direction, frequency):
    """How much of a fabric's second colour is at a rest-pose position, 0 to 1; patterns as `appearance.PATTERNS`."""
    if pattern == 0:
        return f32(0)
    if pattern == 5:  # a printed panel on the chest
        return f32(1) if abs(x) < f32(0.09) and z > 0 and f32(0.22) < y < f32(0.38) else f32(0)
    t = (x * direction[0] + y * direction[1] + z * direction[2]) * frequency
    stripe = t - np.floor(t) < f32(0.45)
    if pattern == 1:
        return f32(1) if stripe else f32(0)
    if pattern == 2:
        s = (x * direction[1] - y * direction[0] + z * f32(0.5)) * frequency
        return f32(0.5) * (f32(stripe) + f32(s - np.floor(s) < f32(0.45)))
    if pattern == 3:
        u, v = x * frequency - np.floor(x * frequency) - f32(0.5), y * frequency - np.floor(y * frequency) - f32(0.5)
        return f32(1) if u * u + v * v < f32(0.08) else f32(0)
    n = noise3(x * frequency * f32(0.6), y * frequency * f32(0.6), z * frequency * f32(0.6))
    return smooth(min(max((n - f32(0.4)) * f32(6), f32(0)), f32(1)))


@jit
def surface(texture, x, y, seed):
    """How much of a surface's second colour is at (x, y), 0 to 1; textures as `scenes.TEXTURES`."""
    if texture == 0:
        return f32(0.3) * noise2(x * f32(0.7), y * f32(0.7), seed)
    i, j = np.floor(x), np.floor(y)
    if texture == 1:
        return f32(0.85) * f32((int(i) + int(j)) & 1) + f32(0.15) * hash01(int(i), int(j), seed)
    if texture == 2:  # planks: long cells with their own tone and a dark joint
        joint = f32(1) if x - i < f32(0.06) else f32(0)
        return max(joint, f32(0.6) * hash01(int(i), int(np.floor(y * f32(0.2) + i * f32(0.37))), seed))
    if texture == 3:
        n = f32(0.5) * noise2(x, y, seed) + f32(0.3) * noise2(x * f32(2.7), y * f32(2.7), seed + 1)
        return n + f32(0.2) * noise2(x * f32(7.3), y * f32(7.3), seed + 2)
    if texture == 4:  # bricks
        shifted = x * f32(0.5) + f32(0.5) * f32(int(j) & 1)
        k = np.floor(shifted)
        mortar = y - j < f32(0.12) or shifted - k < f32(0.06)
        return f32(1) if mortar else f32(0.35) * hash01(int(k), int(j), seed)
    n = noise2(x * f32(0.8), y * f32(0.8), seed)
    return smooth(min(max((n - f32(0.45)) * f32(8), f32(0)), f32(1)))


@jit
def box_blur(image, radius):
    """Blurs (H, W, C) in place with a box of 2 radius + 1 pixels along both axes; edges are repeated."""
    height, width, channels = image.shape
    line = np.empty(max(height, width), np.float32)
    scale = f32(1) / f32(2 * radius + 1)
    for c in range(channels):
        for axis in range(2):
            lines, length = (height, width) if axis == 0 else (width, height)
            for i in range(lines):
                for k in range(length):
                    line[k] = image[i, k, c] if axis == 0 else image[k, i, c]
                total = line[0] * f32(radius + 1)
                for k in range(radius):
                    total += line[min(k + 1, length - 1)]
                for k in range(length):
                    if axis == 0:
                        image[i, k, c] = total * scale
                    else:
                        image[k, i, c] = total * scale
                    total += line[min(k + radius + 1, length - 1)] - line[max(k - radius, 0)]
