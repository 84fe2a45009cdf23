"""Compiled loops for what lens and sensor make of an image: blur, motion, exposure, noise.

Images are (H, C, W), the channels of a row one after the other, float32 in linear light until `develop` turns them into
8-bit images.

Shapes: H height, W width, C channels, S side of a square image.
"""

import numpy as np

from data_pipelines.synthetic.compiled import Struct, f32, i32, jit

GRAIN = np.random.Generator(np.random.Philox(1)).random((2, 3 * 2**15), np.float32) - np.float32(0.5)
GRAIN = GRAIN[0] + np.repeat(GRAIN[1, : 2**15], 3)  # a pixel's channels share a part
GRAIN = np.ascontiguousarray(GRAIN.reshape(-1, 3).T)


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
    """Running sums, (C, W); three channels at a time, as each sum waits for the one before."""
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
def box_blur(image: np.ndarray, radius: int) -> None:
    """Blurs (H, C, W) in place with a box of 2 radius + 1 pixels along both axes; edges are repeated."""
    height, channels, width = image.shape
    rows, scale = image.reshape(height, channels * width), f32(1) / f32(2 * radius + 1)
    kept = 2 * radius + 2  # rows, blurred along themselves, that the box is on or that enter it
    ring = np.empty((kept, channels, width), np.float32)
    lines = ring.reshape(kept, channels * width)
    padded, steps = np.empty(width + 2 * radius + 1, np.float32), np.empty((channels, width), np.float32)
    for i in range(min(radius + 1, height)):
        _blur_row(image[i], radius, padded, steps, ring[i])
    total = lines[0] * f32(radius + 1)
    for k in range(1, radius + 1):
        total += lines[min(k, height - 1)]
    for i in range(height):
        entering = min(i + radius + 1, height - 1)
        if i + radius + 1 < height:
            _blur_row(image[entering], radius, padded, steps, ring[entering % kept])
        _advance(total, lines[entering % kept], lines[max(i - radius, 0) % kept], scale, rows[i])


@jit
def _weigh(before, here, after, side, middle, out):
    for j in range(out.size):
        out[j] = middle * here[j] + side * (before[j] + after[j])


@jit
def soften_row(image: np.ndarray, i: int, amount: float, padded: np.ndarray, out: np.ndarray) -> None:
    """Row i, (C, W), of (H, C, W) mixed with its neighbours, as a blur of `amount` < 1 pixel; edges are repeated.

    `padded` (W + 2,) is scratch.
    """
    height, channels, width = image.shape
    side, middle = f32(0.25) * amount, f32(1) - f32(0.5) * amount
    for c in range(channels):
        inner = padded[1 : width + 1]
        _weigh(image[max(i - 1, 0), c], image[i, c], image[min(i + 1, height - 1), c], side, middle, inner)
        padded[0], padded[width + 1] = padded[1], padded[width]
        _weigh(padded, inner, padded[2:], side, middle, out[c])


@jit
def blur(image: np.ndarray, amount: float) -> None:
    """Blurs in place by about `amount` pixels, at least one."""
    radius = int(amount + f32(0.5))
    box_blur(image, radius)
    box_blur(image, max(1, radius - 1))


@jit
def soften(image: np.ndarray, amount: float, out: np.ndarray) -> None:
    """Blurs by `amount` pixels, less than one, into out."""
    padded = np.empty(image.shape[2] + 2, np.float32)
    for row in range(image.shape[0]):
        soften_row(image, row, amount, padded, out[row])


@jit
def smear(image: np.ndarray, motion: np.ndarray, out: np.ndarray) -> None:
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
def develop(image: np.ndarray, soft: float, scene: Struct, out: np.ndarray) -> None:
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
