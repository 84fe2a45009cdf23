"""Bilinear sampling on CPUs: point by point, four neighbours are read, or gradients are added to them.

Shapes: B batch, H and W size of the map, C channels, G groups of channels, c = C / G, N points.
"""

import jax
import jax.numpy as jnp
import numba
import numpy as np

from hmr_jax.io.cache import keeps_compiled
from hmr_jax.ops.cpu.linear_call import Arrays, linear_call
from hmr_jax.ops.cpu.native import (
    ARGUMENTS,
    HANDLER,
    RESULTS,
    array,
    gradient_arrays,
    is_version_query,
    kernel,
    register,
)
from hmr_jax.ops.gathering import by_gather

ZERO, ONE = np.float32(0), np.float32(1)


@jax.custom_jvp
def sample_on_cpu(maps: jax.Array, points: jax.Array) -> jax.Array:
    """(B, H, W, C) float32 features, (B, G, N, 2) float32 points -> (B, N, G, c); zero padding.

    A point that is not finite makes its sample NaN. Both gradients are those of `sample_points`.
    """
    groups, number = points.shape[1:3]
    shape = (len(maps), number, groups, maps.shape[-1] // groups)
    call = jax.ffi.ffi_call("hmr_jax.sample", jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential")
    return call(maps, points)


@sample_on_cpu.defjvp
def _sample_jvp(primals: Arrays, tangents: Arrays) -> tuple[jax.Array, jax.Array]:
    return sample_on_cpu(*primals), linear_call(_tangent, _cotangents, primals, tangents)[0]


def _tangent(residuals: Arrays, tangents: Arrays) -> Arrays:
    """Forward mode: how samples change with features and points."""
    groups = residuals[1].shape[1]

    def gather(maps: jax.Array, points: jax.Array) -> jax.Array:
        batch, height, width, channels = maps.shape
        return by_gather(maps.reshape(batch, height * width, groups, channels // groups), points, height, width)

    return (jax.jvp(gather, residuals, tangents)[1],)


def _cotangents(residuals: Arrays, cotangents: Arrays) -> Arrays:
    """Reverse mode: gradients of features and points."""
    results = [jax.ShapeDtypeStruct(argument.shape, jnp.float32) for argument in residuals]
    call = jax.ffi.ffi_call("hmr_jax.sample_gradients", results, vmap_method="sequential")
    return tuple(call(*residuals, *cotangents))


@kernel
def _inside(x, y, width, height):
    """Whether a point has a neighbour in the map."""
    return x >= -1 and x < width and y >= -1 and y < height


@kernel
def _corner(coordinate, size):
    """The cells before and after a coordinate, clipped; their weights; and 1 where they are not clipped, else 0."""
    lower = np.floor(coordinate)
    cell, fraction = np.int64(lower), np.float32(coordinate - lower)
    has_before, has_after = ONE if cell >= 0 else ZERO, ONE if cell + 1 < size else ZERO
    weights = has_before * (ONE - fraction), has_after * fraction
    return (max(cell, 0), min(cell + 1, size - 1)), weights, (has_before, has_after)


@kernel
def _neighbours(image, group, columns, rows, width, height, groups):
    """Rows of a (B H W G, c) map: the left and right cell of the upper row, then of the lower row."""
    upper, lower = (image * height + rows[0]) * width, (image * height + rows[1]) * width
    left, right = columns[0] * groups + group, columns[1] * groups + group
    return upper * groups + left, upper * groups + right, lower * groups + left, lower * groups + right


@kernel
def _sample(maps, points, sampled):
    batch, height, width, _ = maps.shape
    groups, number = points.shape[1], points.shape[2]
    size = sampled.shape[3]
    cells = maps.reshape(-1, size)  # (B H W G, c)
    for image in range(batch):
        for point in range(number):
            for group in range(groups):
                x, y = points[image, group, point, 0], points[image, group, point, 1]
                if not _inside(x, y, width, height):
                    for k in range(size):
                        sampled[image, point, group, k] = ZERO * x + ZERO * y  # NaN unless finite
                    continue
                columns, (left, right), _ = _corner(x, width)
                rows, (top, bottom), _ = _corner(y, height)
                a, b, c, d = _neighbours(image, group, columns, rows, width, height, groups)
                w_a, w_b, w_c, w_d = top * left, top * right, bottom * left, bottom * right
                for k in range(size):
                    upper, lower = w_a * cells[a, k] + w_b * cells[b, k], w_c * cells[c, k] + w_d * cells[d, k]
                    sampled[image, point, group, k] = upper + lower


@kernel
def _gradients(maps, points, cotangent, grad_maps, grad_points):
    batch, height, width, _ = maps.shape
    groups, number = points.shape[1], points.shape[2]
    size = cotangent.shape[3]
    cells, grad_cells = maps.reshape(-1, size), grad_maps.reshape(-1, size)
    for image in range(batch):
        for row in range(image * height * width * groups, (image + 1) * height * width * groups):
            for k in range(size):
                grad_cells[row, k] = ZERO
        for point in range(number):
            for group in range(groups):
                x, y = points[image, group, point, 0], points[image, group, point, 1]
                if not _inside(x, y, width, height):
                    for axis in range(2):
                        grad_points[image, group, point, axis] = ZERO * x + ZERO * y
                    continue
                columns, (left, right), (has_left, has_right) = _corner(x, width)
                rows, (top, bottom), (has_top, has_bottom) = _corner(y, height)
                a, b, c, d = _neighbours(image, group, columns, rows, width, height, groups)
                along_a, along_b, along_c, along_d = ZERO, ZERO, ZERO, ZERO
                for k in range(size):
                    grad = cotangent[image, point, group, k]
                    along_a += grad * cells[a, k]
                    along_b += grad * cells[b, k]
                    along_c += grad * cells[c, k]
                    along_d += grad * cells[d, k]
                upper, lower = has_right * along_b - has_left * along_a, has_right * along_d - has_left * along_c
                grad_points[image, group, point, 0] = top * upper + bottom * lower
                before, after = has_bottom * along_c - has_top * along_a, has_bottom * along_d - has_top * along_b
                grad_points[image, group, point, 1] = left * before + right * after
                # One cell after another, since two of them may be the same.
                for cell, weight in ((a, top * left), (b, top * right), (c, bottom * left), (d, bottom * right)):
                    for k in range(size):
                        grad_cells[cell, k] += weight * cotangent[image, point, group, k]


@numba.cfunc(HANDLER, cache=keeps_compiled())
def _sample_handler(frame):
    if not is_version_query(frame):
        _sample(array(frame, ARGUMENTS, 0), array(frame, ARGUMENTS, 1), array(frame, RESULTS, 0))
    return 0


@numba.cfunc(HANDLER, cache=keeps_compiled())
def _gradients_handler(frame):
    if not is_version_query(frame):
        maps, points, cotangent, grad_maps, grad_points = gradient_arrays(frame)
        _gradients(maps, points, cotangent, grad_maps, grad_points)
    return 0


register("hmr_jax.sample", _sample_handler)
register("hmr_jax.sample_gradients", _gradients_handler)
