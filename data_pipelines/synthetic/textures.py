"""Compiled procedural textures: value noise, fabric patterns, surfaces; and the box blur.

Loops over one row of an image stand in functions of their own, without branches, calls or divisions where possible:
there the compiler sees that arrays do not overlap, and vectorises. Whole numbers are cast back to 32 bits after each
operation, for Numba widens them.

Shapes: H height, W width, C channels.
"""

import numba
import numpy as np

jit = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
# For what loops call: compiled on its own it would already use vectors, and the loop around it could not.
part = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", inline="always")

f32, i32, u32 = np.float32, np.int32, np.uint32

GRAIN = np.random.Generator(np.random.Philox(1)).random((2, 3 * 2**15), np.float32) - np.float32(0.5)
GRAIN = GRAIN[0] + np.repeat(GRAIN[1, : 2**15], 3)  # a pixel's channels share a part
GRAIN = np.ascontiguousarray(GRAIN.reshape(-1, 3).T)

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
def smooth(t):
    """The cubic step: 0 and 1 stay, with no slope there."""
    return t * t * (f32(3) - f32(2) * t)


@part
def noise2(x, y, seed):
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
def noise3(x, y, z):
    """Value noise in space, [0, 1), one feature per unit."""
    z = f32(z)
    fz = np.floor(z)
    w, layer = smooth(z - fz), i32(fz)
    return noise2(x, y, layer) * (f32(1) - w) + noise2(x, y, i32(layer + i32(1))) * w


@jit
def fabric(pattern, x, y, z, directions, garment, frequency):
    """How much of a fabric's second colour is at a rest-pose position, 0 to 1; patterns as `appearance.PATTERNS`."""
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
def surface(texture, x, y, seed, out):
    """How much of a surface's second colour is at the points (x, y) of a row, 0 to 1; textures as `scenes.TEXTURES`."""
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
def _accumulate(steps, first, out):
    """Running sums, (C, W); three channels at a time keep the processor busy."""
    if len(out) == 3:
        a, b, c = first[0], first[1], first[2]
        for j in range(out.shape[1]):
            out[0, j], out[1, j], out[2, j] = a, b, c
            a += steps[0, j]
            b += steps[1, j]
            c += steps[2, j]
        return
    for k in range(len(out)):
        total = first[k]
        for j in range(out.shape[1]):
            out[k, j] = total
            total += steps[k, j]


@jit
def _blur_row(line, radius, padded, steps, out):
    """The mean over 2 radius + 1 neighbours in every channel of (C, W); the ends are repeated."""
    width, scale = line.shape[1], f32(1) / f32(2 * radius + 1)
    first = np.empty(len(line), np.float32)
    for c in range(line.shape[0]):
        for k in range(padded.size):  # no assignment of arrays: Numba would compile its error's text with it
            padded[k] = line[c, min(max(k - radius, 0), width - 1)]
        first[c] = f32(0)
        for k in range(2 * radius + 1):
            first[c] += padded[k] * scale
        _subtract(padded[2 * radius + 1 :], padded, scale, steps[c])
    _accumulate(steps, first, out)


@jit
def box_blur(image, radius):
    """Blurs (H, C, W) in place with a box of 2 radius + 1 pixels along both axes; edges are repeated."""
    height, channels, width = image.shape
    rows, scale = image.reshape(height, channels * width), f32(1) / f32(2 * radius + 1)
    kept = 2 * radius + 2  # rows, blurred along themselves, that the box is on or that enter it
    ring = np.empty((kept, channels, width), np.float32)
    flat = ring.reshape(kept, channels * width)
    padded, steps = np.empty(width + 2 * radius + 1, np.float32), np.empty((channels, width), np.float32)
    for i in range(min(radius + 1, height)):
        _blur_row(image[i], radius, padded, steps, ring[i])
    total = flat[0] * f32(radius + 1)
    for k in range(1, radius + 1):
        total += flat[min(k, height - 1)]
    for i in range(height):
        entering = min(i + radius + 1, height - 1)
        if i + radius + 1 < height:
            _blur_row(image[entering], radius, padded, steps, ring[entering % kept])
        _advance(total, flat[entering % kept], flat[max(i - radius, 0) % kept], scale, rows[i])


@jit
def _weigh(before, here, after, side, middle, out):
    for j in range(out.size):
        out[j] = middle * here[j] + side * (before[j] + after[j])


@jit
def soften_row(image, i, amount, padded, out):
    """Row i, (C, W), of (H, C, W) with its neighbours mixed in, as a blur of `amount` < 1 pixel does; edges repeat.

    `padded` (W + 2,) is for scratch.
    """
    height, channels, width = image.shape
    side, middle = f32(0.25) * amount, f32(1) - f32(0.5) * amount
    for c in range(channels):
        inner = padded[1 : width + 1]
        _weigh(image[max(i - 1, 0), c], image[i, c], image[min(i + 1, height - 1), c], side, middle, inner)
        padded[0], padded[width + 1] = padded[1], padded[width]
        _weigh(padded, inner, padded[2:], side, middle, out[c])
