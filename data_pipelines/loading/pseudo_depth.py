"""Pseudo-depth of crops: stored estimates are normalised, exact depth is first made as wrong as an estimate.

Shapes: B examples, S side of the crop.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from data_pipelines.random_streams import Draws
from data_pipelines.records import DEPTH_STEP
from hmr_jax.config import DepthCorruptionConfig
from hmr_jax.depth import DepthMap, normalize, to_levels
from hmr_jax.io.cache import keeps_compiled

EXACT = DepthCorruptionConfig(0, 0, 0, 0, 0, 0, 0)
"""No corruption."""
GRID = 8  # of the noise
HORIZON = (0.3, 3.0)  # above the feet, in units of the person's height
WALL = (0.3, 6.0)  # behind the person, metres
RADIUS = (0.04, 0.25)  # of a missing region, in units of S


def pseudo_depth(
    crops: Sequence[np.ndarray | None],
    kinds: Sequence[str],
    size: int,
    config: DepthCorruptionConfig,
    seed: int,
    numbers: np.ndarray,
    training: bool,
) -> dict[str, np.ndarray]:
    """Batch arrays of examples, a pure function of (seed, number) and the depth.

    Args:
        crops: (S, S) each: metres where exact, else inverse depth; 0 = unknown; None: no depth.
        kinds: "metric" or "inverse" each: only metric depth is corrupted.
        size: S.
        config: strengths and probabilities of the corruption.
        seed: of the run.
        numbers: (B,) numbers of the examples in their stream.
        training: whether a whole map may be left out.

    Returns:
        pseudo_depth (B, S, S) uint8 and has_pseudo_depth (B,) float32.
    """
    config = config if training else dataclasses.replace(config, absent=0)
    draws = Draws(seed, numbers, "depth")
    happens = draws.uniform(shape=(3,)) < np.array([config.background, config.missing, config.absent])
    horizon, wall = draws.uniform(*HORIZON), draws.uniform(*WALL)
    gain = 1 + config.scale * draws.normal(clip=2)
    offset = config.shift * draws.normal(clip=2)
    blur = config.blur * draws.uniform()
    ellipse = np.concatenate([draws.uniform(0.2, 0.8, (2,)), draws.uniform(*RADIUS, shape=(2,))], 1)
    noise = config.noise * draws.normal(shape=(GRID, GRID))

    levels, has = np.zeros((len(crops), size, size), np.uint8), np.zeros(len(crops), np.float32)
    for i, (crop, kind) in enumerate(zip(crops, kinds, strict=True)):
        if crop is None or happens[i, 2]:
            continue
        if kind == "metric":
            if happens[i, 0]:
                crop = fill_background(crop, horizon[i], wall[i])
            scaled, has[i] = normalize(crop, kind)
            if has[i]:
                hole = ellipse[i] * size if happens[i, 1] else np.full(4, -1.0)
                _distort(scaled, gain[i], offset[i], noise[i], blur[i] * size, hole)
        else:
            scaled, has[i] = normalize(crop, kind)
        levels[i] = to_levels(scaled)
    return {"pseudo_depth": levels, "has_pseudo_depth": has}


def stored_depth(
    depth: DepthMap | None, source_box: Sequence[float] | np.ndarray | None = None, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Arguments of `records.encode` that store an estimated map with an image; none where there is no map.

    An estimate is stored as relative inverse depth, metric ones too: metres in a record are exact.

    Args:
        depth: of the original image.
        source_box: (4,) left, top, right, bottom of the stored image in the original one, px; None: all of it.
        size: width and height of the stored image; None: those of the box.
    """
    if depth is None or not depth.values.any():
        return {}
    height, width = depth.values.shape
    left, top, right, bottom = (0, 0, width, height) if source_box is None else source_box
    columns, rows = size or (round(right - left), round(bottom - top))
    x = np.rint((np.arange(columns) + 0.5) * (right - left) / columns + left - 0.5).astype(int)
    y = np.rint((np.arange(rows) + 0.5) * (bottom - top) / rows + top - 0.5).astype(int)
    cut = depth.values[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)].astype(np.float64)
    cut[(y < 0) | (y >= height)] = 0
    cut[:, (x < 0) | (x >= width)] = 0
    known = cut > 0
    if not known.any():
        return {}
    if depth.kind == "metric":
        cut[known] = 1 / cut[known]
    cut = np.clip(cut / np.percentile(cut[known], 99.9), 0, 1)
    return {"depth": np.where(known, np.maximum(cut, DEPTH_STEP["inverse"]), 0), "depth_kind": "inverse"}


def fill_background(depth: np.ndarray, horizon: float, wall: float) -> np.ndarray:
    """Puts a floor and a wall where the depth is unknown.

    The inverse depth of a plane is linear in the pixel: the floor's is the feet's in their row and 0 in the horizon's.

    Args:
        depth: (S, S) metres, 0 = unknown.
        horizon: height of the horizon above the lowest row of the person, in units of the person's rows.
        wall: distance of the wall behind the person, metres.
    """
    rows = np.flatnonzero(depth.any(1))
    if not len(rows):
        return depth
    top, bottom = rows[0], rows[-1]
    feet = depth[bottom][depth[bottom] > 0].mean()
    floor = (np.arange(len(depth)) - bottom) / (horizon * (bottom - top + 1)) + 1  # of the feet's inverse depth
    behind = 1 / np.maximum(floor / feet, 1 / (depth.max() + wall))
    return np.where(depth > 0, depth, behind[:, None]).astype(np.float32)


@numba.njit(nogil=True, cache=keeps_compiled())
def _distort(scaled, gain, offset, noise, blur, hole):
    """Changes a normalised map (S, S) in place: contrast, offset, smooth noise, blur, and an elliptic hole.

    The hole is (x, y, radius, radius) in pixels, with radii below 0 for none.
    """
    size = scaled.shape[0]
    step = (noise.shape[0] - 1) / max(1, size - 1)
    for row in range(size):
        i = min(int(row * step), noise.shape[0] - 2)
        down = row * step - i
        for column in range(size):
            j = min(int(column * step), noise.shape[1] - 2)
            right = column * step - j
            above = noise[i, j] * (1 - right) + noise[i, j + 1] * right
            below = noise[i + 1, j] * (1 - right) + noise[i + 1, j + 1] * right
            if scaled[row, column] > 0:
                scaled[row, column] = gain * scaled[row, column] + offset + above * (1 - down) + below * down
    radius = round(blur)
    if radius > 0:
        line = np.empty(size, scaled.dtype)
        for _ in range(2):  # two boxes make a triangle
            for k in range(size):
                _box(scaled[k], line, radius)
                _box(scaled[:, k], line, radius)
    for row in range(size):
        for column in range(size):
            value = min(max(scaled[row, column], 0.0), 1.0)
            if hole[2] > 0 and ((column - hole[0]) / hole[2]) ** 2 + ((row - hole[1]) / hole[3]) ** 2 < 1:
                value = 0.0
            scaled[row, column] = value


@numba.njit(nogil=True, cache=keeps_compiled())
def _box(values, line, radius):
    """The running mean of a line, in place; `line` is scratch. At the ends the window is cut."""
    count, total, size = 0, 0.0, len(values)
    line[:] = values
    for k in range(-radius, size):
        if k + radius < size:
            total += line[k + radius]
            count += 1
        if k - radius - 1 >= 0:
            total -= line[k - radius - 1]
            count -= 1
        if k >= 0:
            values[k] = total / count
