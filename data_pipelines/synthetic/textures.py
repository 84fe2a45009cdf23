"""Compiled procedural textures: value noise, fabric patterns, surfaces; each a function of a position.

Letters: none; everything is a scalar.
"""

import numba
import numpy as np

jit = numba.njit(nogil=True, cache=True, fastmath=True)

f32 = np.float32


# Random numbers that are looked up, which is faster than to hash.
LATTICE = np.random.Generator(np.random.Philox(0)).random((64, 64), np.float32)
GRAIN = np.random.Generator(np.random.Philox(1)).random((2, 3 * 2**15), np.float32) - np.float32(0.5)
GRAIN = GRAIN[0] + np.repeat(GRAIN[1, : 2**15], 3)  # a pixel's channels share a part


@jit
def _lattice(i, j):
    return LATTICE[i & 63, j & 63]


@jit
def _tone(i, j, seed):
    """A fixed random number in [0, 1) for a cell."""
    return _lattice(np.int64(i) + 37 * np.int64(seed), np.int64(j) + 23 * np.int64(seed))


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
        return f32(0.85) * f32((int(i) + int(j)) & 1) + f32(0.15) * _tone(i, j, seed)
    if texture == 2:  # planks: long cells with their own tone and a dark joint
        joint = f32(1) if x - i < f32(0.06) else f32(0)
        return max(joint, f32(0.6) * _tone(i, np.floor(y * f32(0.2) + i * f32(0.37)), seed))
    if texture == 3:
        n = f32(0.5) * noise2(x, y, seed) + f32(0.3) * noise2(x * f32(2.7), y * f32(2.7), seed + 1)
        return n + f32(0.2) * noise2(x * f32(7.3), y * f32(7.3), seed + 2)
    if texture == 4:  # bricks
        shifted = x * f32(0.5) + f32(0.5) * f32(int(j) & 1)
        k = np.floor(shifted)
        mortar = y - j < f32(0.12) or shifted - k < f32(0.06)
        return f32(1) if mortar else f32(0.35) * _tone(k, j, seed)
    n = noise2(x * f32(0.8), y * f32(0.8), seed)
    return smooth(min(max((n - f32(0.45)) * f32(8), f32(0)), f32(1)))


# Inner loops stand in functions of their own, where the compiler sees that arrays do not overlap, and vectorises.


@jit
def _advance(total, entering, leaving, scale, out):
    for j in range(out.size):
        out[j] = total[j] * scale
        total[j] += entering[j] - leaving[j]


@jit
def _subtract(a, b, scale, out):
    for j in range(out.size):
        out[j] = (a[j] - b[j]) * scale


@jit
def _accumulate(steps, channels, out):
    for j in range(channels, out.size):
        out[j] = out[j - channels] + steps[j]


@jit
def _weigh(before, here, after, side, middle, out):
    for j in range(out.size):
        out[j] = middle * here[j] + side * (before[j] + after[j])


@jit
def box_blur(image, radius):
    """Blurs (H, W, C) in place with a box of 2 radius + 1 pixels along both axes; edges are repeated."""
    height, width, channels = image.shape
    end, border = width * channels, (radius + 1) * channels
    rows = image.reshape(height, end)
    half = np.empty((height, end + 2 * border), np.float32)  # with more pixels at both ends
    scale = f32(1) / f32(2 * radius + 1)
    total = rows[0] * f32(radius + 1)  # of every column
    for k in range(radius):
        total += rows[min(k + 1, height - 1)]
    for i in range(height):
        inner = half[i, border : border + end]
        _advance(total, rows[min(i + radius + 1, height - 1)], rows[max(i - radius, 0)], scale, inner)
    steps = np.empty(end, np.float32)
    for i in range(height):
        for k in range(border):
            half[i, k] = half[i, border + k % channels]
            half[i, border + end + k] = half[i, border + end - channels + k % channels]
        for c in range(channels):
            first = f32(0)
            for k in range(1, 2 * radius + 2):
                first += half[i, k * channels + c]
            rows[i, c] = first * scale
        _subtract(half[i, 2 * border - channels :], half[i], scale, steps)
        _accumulate(steps, channels, rows[i])


@jit
def soften(image, amount):
    """Mixes in the four neighbours of (H, W, C) in place, as a blur of `amount` < 1 pixel does; edges are repeated."""
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels)
    half = np.empty((height, (width + 2) * channels), np.float32)  # with a pixel more at both ends
    side, middle, end = f32(0.25) * amount, f32(1) - f32(0.5) * amount, width * channels
    for i in range(height):
        inner = half[i, channels : channels + end]
        _weigh(rows[max(i - 1, 0)], rows[i], rows[min(i + 1, height - 1)], side, middle, inner)
        half[i, :channels], half[i, channels + end :] = inner[:channels], inner[end - channels :]
    for i in range(height):
        row = half[i]
        _weigh(row[:end], row[channels : channels + end], row[2 * channels :], side, middle, rows[i])
