"""Depth-wise convolution on CPUs: product by product, vectorised over the channels of a group.

Arrays are those of `ops.depthwise`, with groups and channels in one axis.
"""

import functools

import jax
import jax.numpy as jnp
import numba
import numpy as np

from hmr_jax.io.cache import keeps_compiled
from hmr_jax.ops.cpu import native
from hmr_jax.ops.cpu.linear_call import Arrays, Call, linear_call
from hmr_jax.ops.cpu.native import (
    ARGUMENTS,
    HANDLER,
    RESULTS,
    array,
    attribute,
    gradient_arrays,
    is_version_query,
    register,
)

ZERO = np.float32(0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def depthwise_on_cpu(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """`ops.depthwise.depthwise_convolution` of float32 arrays, with the same shapes."""
    batch, height, width, groups, channels = x.shape
    rows, columns = ((size + 2 * pad - len(kernel)) // stride + 1 for size in (height, width))
    result = jax.ShapeDtypeStruct((batch, rows, columns, groups * channels), jnp.float32)
    call = jax.ffi.ffi_call("hmr_jax.depthwise", result, vmap_method="sequential")
    y = call(_merge_groups(x), kernel, pad=np.int64(pad), stride=np.int64(stride))
    return y.reshape(batch, rows, columns, groups, channels)


def _merge_groups(x: jax.Array) -> jax.Array:
    """(B, H, W, G, c) -> (B, H, W, G c)."""
    return x.reshape(*x.shape[:3], -1)


@depthwise_on_cpu.defjvp
def _depthwise_jvp(stride: int, pad: int, primals: Arrays, tangents: Arrays) -> tuple[jax.Array, jax.Array]:
    tangent, cotangents = _derivatives(stride, pad)
    return depthwise_on_cpu(*primals, stride, pad), linear_call(tangent, cotangents, primals, tangents)[0]


@functools.cache
def _derivatives(stride: int, pad: int) -> tuple[Call, Call]:
    """Forward and reverse mode; cached, since JAX compares functions by identity."""

    def tangent(residuals: Arrays, tangents: Arrays) -> Arrays:
        (x, kernel), (x_tangent, kernel_tangent) = residuals, tangents
        moved = depthwise_on_cpu(x_tangent, kernel, stride, pad)
        return (moved + depthwise_on_cpu(x, kernel_tangent, stride, pad),)

    def cotangents(residuals: Arrays, given: Arrays) -> Arrays:
        x, kernel = residuals
        results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (_merge_groups(x).shape, kernel.shape)]
        call = jax.ffi.ffi_call("hmr_jax.depthwise_gradients", results, vmap_method="sequential")
        grad_x, grad_kernel = call(
            _merge_groups(x), kernel, _merge_groups(given[0]), pad=np.int64(pad), stride=np.int64(stride)
        )
        return grad_x.reshape(x.shape), grad_kernel

    return tangent, cotangents


@native.kernel
def _products(x, kernel, y, stride, pad):
    """(products, 3) indices of result, kernel cell and map cell, in row order, of every product inside the map."""
    height, width, columns, size = x.shape[1], x.shape[2], y.shape[2], len(kernel)
    products, count = np.empty((y.shape[1] * columns * size * size, 3), np.int64), 0
    for result in range(y.shape[1] * columns):
        for weight in range(size * size):
            row = result // columns * stride + weight // size - pad
            column = result % columns * stride + weight % size - pad
            if 0 <= row < height and 0 <= column < width:
                products[count, 0], products[count, 1], products[count, 2] = result, weight, row * width + column
                count += 1
    return products[:count]


@native.kernel
def _rows(product, image, x, y, groups):
    """First row of the result, row of the kernel and first row of the map, in arrays with a row for each group."""
    result = (image * y.shape[1] * y.shape[2] + product[0]) * groups
    return result, product[1], (image * x.shape[1] * x.shape[2] + product[2]) * groups


@native.kernel
def _clear(rows):
    for row in range(len(rows)):
        for k in range(rows.shape[1]):
            rows[row, k] = ZERO


@native.kernel
def _convolve(x, kernel, y, stride, pad):
    channels, groups = kernel.shape[3], x.shape[3] // kernel.shape[3]
    cells, results, weights = x.reshape(-1, channels), y.reshape(-1, channels), kernel.reshape(-1, channels)
    products = _products(x, kernel, y, stride, pad)
    _clear(results)
    for image in range(len(x)):
        for i in range(len(products)):
            result, weight, source = _rows(products[i], image, x, y, groups)
            for group in range(groups):
                for k in range(channels):
                    results[result + group, k] += cells[source + group, k] * weights[weight, k]


@native.kernel
def _gradients(x, kernel, cotangent, grad_x, grad_kernel, stride, pad):
    channels, groups = kernel.shape[3], x.shape[3] // kernel.shape[3]
    cells, grad_cells, grads = x.reshape(-1, channels), grad_x.reshape(-1, channels), cotangent.reshape(-1, channels)
    weights, grad_weights = kernel.reshape(-1, channels), grad_kernel.reshape(-1, channels)
    products = _products(x, kernel, cotangent, stride, pad)
    _clear(grad_cells)
    _clear(grad_weights)
    for image in range(len(x)):
        for i in range(len(products)):
            result, weight, source = _rows(products[i], image, x, cotangent, groups)
            for group in range(groups):
                for k in range(channels):
                    grad_cells[source + group, k] += grads[result + group, k] * weights[weight, k]
                for k in range(channels):
                    grad_weights[weight, k] += grads[result + group, k] * cells[source + group, k]


@numba.cfunc(HANDLER, cache=keeps_compiled())
def _convolve_handler(frame):
    if not is_version_query(frame):
        _convolve(
            array(frame, ARGUMENTS, 0), array(frame, ARGUMENTS, 1), array(frame, RESULTS, 0),
            attribute(frame, 1), attribute(frame, 0),
        )  # fmt: skip
    return 0


@numba.cfunc(HANDLER, cache=keeps_compiled())
def _gradients_handler(frame):
    if not is_version_query(frame):
        x, kernel, cotangent, grad_x, grad_kernel = gradient_arrays(frame)
        _gradients(x, kernel, cotangent, grad_x, grad_kernel, attribute(frame, 1), attribute(frame, 0))
    return 0


register("hmr_jax.depthwise", _convolve_handler)
register("hmr_jax.depthwise_gradients", _gradients_handler)
