"""Gradients of depth-wise convolution on CPUs: product by product, vectorised over the channels of a group.

Arrays are those of `ops.depthwise`, with groups and channels in one axis.
"""

import jax
import jax.numpy as jnp
import numba
import numpy as np

from hmr_jax.io.cache import keeps_compiled
from hmr_jax.ops.cpu import native
from hmr_jax.ops.cpu.native import HANDLER, attribute, gradient_arrays, is_version_query, register

ZERO = np.float32(0)


def depthwise_gradients(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, stride: int, pad: int
) -> tuple[jax.Array, jax.Array]:
    """Gradients of `ops.depthwise.depthwise_convolution` of float32 arrays: of x and of the kernel, in their shapes."""
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (_merge_groups(x).shape, kernel.shape)]
    call = jax.ffi.ffi_call("hmr_jax.depthwise_gradients", results, vmap_method="sequential")
    grad_x, grad_kernel = call(
        _merge_groups(x), kernel, _merge_groups(cotangent), pad=np.int64(pad), stride=np.int64(stride)
    )
    return grad_x.reshape(x.shape), grad_kernel


def _merge_groups(x: jax.Array) -> jax.Array:
    """(B, H, W, G, c) -> (B, H, W, G c)."""
    return x.reshape(*x.shape[:3], -1)


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
def _gradients_handler(frame):
    if not is_version_query(frame):
        x, kernel, cotangent, grad_x, grad_kernel = gradient_arrays(frame)
        _gradients(x, kernel, cotangent, grad_x, grad_kernel, attribute(frame, 1), attribute(frame, 0))
    return 0


register("hmr_jax.depthwise_gradients", _gradients_handler)
