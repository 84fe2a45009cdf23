"""Bilinear sampling on CPUs: four neighbours read, and gradients added to four neighbours, point by point.

Letters: B batch, H and W the map, C channels, G groups of channels, c = C / G, N points.
"""

import jax
import jax.numpy as jnp
import numba
import numpy as np

from hmr_jax.ops.native import ARGUMENTS, HANDLER, RESULTS, answered, array3, array4, kernel, register

ZERO, ONE = np.float32(0), np.float32(1)


@jax.custom_vjp
def sample_on_cpu(maps: jax.Array, points: jax.Array) -> jax.Array:
    """(B, H, W, C) float32 features, (B, G, N, 2) float32 points -> (B, N, C); zero padding.

    A point that is not finite makes its sample NaN. Both gradients are those of `sample_points`.
    """
    batch, channels = maps.shape[0], maps.shape[-1]
    result = jax.ShapeDtypeStruct((batch, points.shape[2], channels), jnp.float32)
    return jax.ffi.ffi_call("hmr_jax.sample", result)(maps, points)


def _forward(maps, points):
    return sample_on_cpu(maps, points), (maps, points)


def _backward(residuals, cotangent):
    results = [jax.ShapeDtypeStruct(array.shape, jnp.float32) for array in residuals]
    return tuple(jax.ffi.ffi_call("hmr_jax.sample_gradients", results)(*residuals, cotangent))


sample_on_cpu.defvjp(_forward, _backward)


@kernel
def _corner(coordinate, size):
    """The cells before and after a coordinate, clipped; their weights; and 1 where they are not clipped, else 0."""
    lower = np.floor(coordinate)
    cell, fraction = np.int64(lower), np.float32(coordinate - lower)
    has_before, has_after = ONE if cell >= 0 else ZERO, ONE if cell + 1 < size else ZERO
    weights = has_before * (ONE - fraction), has_after * fraction
    return max(cell, 0), min(cell + 1, size - 1), weights[0], weights[1], has_before, has_after


@kernel
def _sample(maps, points, sampled):
    batch, height, width, channels = maps.shape
    groups, number = points.shape[1], points.shape[2]
    size = channels // groups
    cells, samples = maps.reshape(-1, size), sampled.reshape(-1, size)  # (B H W G, c), (B N G, c)
    for image in range(batch):
        for point in range(number):
            for group in range(groups):
                row = (image * number + point) * groups + group
                x, y = points[image, group, point, 0], points[image, group, point, 1]
                if not (x > -1 and x < width and y > -1 and y < height):
                    outside = ZERO * x + ZERO * y  # NaN unless finite
                    for k in range(size):
                        samples[row, k] = outside
                    continue
                left, right, w_left, w_right, _, _ = _corner(x, width)
                top, bottom, w_top, w_bottom, _, _ = _corner(y, height)
                upper, lower = (image * height + top) * width, (image * height + bottom) * width
                a, b = (upper + left) * groups + group, (upper + right) * groups + group
                c, d = (lower + left) * groups + group, (lower + right) * groups + group
                w_a, w_b, w_c, w_d = w_top * w_left, w_top * w_right, w_bottom * w_left, w_bottom * w_right
                for k in range(size):
                    samples[row, k] = w_a * cells[a, k] + w_b * cells[b, k] + w_c * cells[c, k] + w_d * cells[d, k]


@kernel
def _gradients(maps, points, cotangent, grad_maps, grad_points):
    batch, height, width, channels = maps.shape
    groups, number = points.shape[1], points.shape[2]
    size = channels // groups
    cells, grad_cells, grads = maps.reshape(-1, size), grad_maps.reshape(-1, size), cotangent.reshape(-1, size)
    for image in range(batch):
        for row in range(image * height * width * groups, (image + 1) * height * width * groups):
            for k in range(size):
                grad_cells[row, k] = ZERO
        for point in range(number):
            for group in range(groups):
                row = (image * number + point) * groups + group
                x, y = points[image, group, point, 0], points[image, group, point, 1]
                if not (x >= -1 and x < width and y >= -1 and y < height):
                    outside = ZERO * x + ZERO * y
                    grad_points[image, group, point, 0] = outside
                    grad_points[image, group, point, 1] = outside
                    continue
                left, right, w_left, w_right, has_left, has_right = _corner(x, width)
                top, bottom, w_top, w_bottom, has_top, has_bottom = _corner(y, height)
                upper, lower = (image * height + top) * width, (image * height + bottom) * width
                a, b = (upper + left) * groups + group, (upper + right) * groups + group
                c, d = (lower + left) * groups + group, (lower + right) * groups + group
                along_a, along_b, along_c, along_d = ZERO, ZERO, ZERO, ZERO
                for k in range(size):
                    grad = grads[row, k]
                    along_a += grad * cells[a, k]
                    along_b += grad * cells[b, k]
                    along_c += grad * cells[c, k]
                    along_d += grad * cells[d, k]
                grad_points[image, group, point, 0] = w_top * (has_right * along_b - has_left * along_a) + w_bottom * (
                    has_right * along_d - has_left * along_c
                )
                grad_points[image, group, point, 1] = w_left * (has_bottom * along_c - has_top * along_a) + w_right * (
                    has_bottom * along_d - has_top * along_b
                )
                w_a, w_b, w_c, w_d = w_top * w_left, w_top * w_right, w_bottom * w_left, w_bottom * w_right
                for k in range(size):  # one loop for each cell, as two of them may be the same
                    grad_cells[a, k] += w_a * grads[row, k]
                for k in range(size):
                    grad_cells[b, k] += w_b * grads[row, k]
                for k in range(size):
                    grad_cells[c, k] += w_c * grads[row, k]
                for k in range(size):
                    grad_cells[d, k] += w_d * grads[row, k]


@numba.cfunc(HANDLER, cache=True)
def _sample_handler(frame):
    if not answered(frame):
        _sample(array4(frame, ARGUMENTS, 0), array4(frame, ARGUMENTS, 1), array3(frame, RESULTS, 0))
    return 0


@numba.cfunc(HANDLER, cache=True)
def _gradients_handler(frame):
    if not answered(frame):
        _gradients(
            array4(frame, ARGUMENTS, 0), array4(frame, ARGUMENTS, 1), array3(frame, ARGUMENTS, 2),
            array4(frame, RESULTS, 0), array4(frame, RESULTS, 1),
        )  # fmt: skip
    return 0


register("hmr_jax.sample", _sample_handler)
register("hmr_jax.sample_gradients", _gradients_handler)
