"""Depth-wise convolution, one kernel for all groups of channels.

Letters: B batch, H and W the map, h and w that of the result, G groups, c channels of a group, k the kernel's size.
"""

from functools import partial

import jax
import jax.numpy as jnp


def depthwise_convolution(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """(B, H, W, G, c) features, (k, k, 1, c) kernel -> (B, h, w, G, c), zero-padded by `pad` on every side."""
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0), (0, 0)))
    if jax.default_backend() == "cpu":  # whose grouped convolution takes 20 times as long
        return _shifted_products(x, kernel, stride)
    batch, height, width, groups, channels = x.shape
    x = jnp.moveaxis(x, 3, 1).reshape(-1, height, width, channels)  # (B G, H, W, c)
    y = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=channels
    )
    return jnp.moveaxis(y.reshape(batch, groups, *y.shape[1:]), 1, 3)


def _window(x: jax.Array, row: int, column: int, kernel: jax.Array, stride: int) -> jax.Array:
    """The padded map's cells that meet the kernel's cell (row, column)."""
    rows, columns = (size - len(kernel) + 1 for size in x.shape[1:3])
    return x[:, row : row + rows : stride, column : column + columns : stride]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _shifted_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    cells = [(row, column) for row in range(len(kernel)) for column in range(len(kernel))]
    return sum(_window(x, *cell, kernel, stride) * kernel[cell][0] for cell in cells)


def _forward(x, kernel, stride):
    return _shifted_products(x, kernel, stride), (x, kernel)


def _backward(stride, residuals, cotangent):
    x, kernel = residuals
    size, channels = len(kernel), kernel.shape[-1]
    # With respect to the map: the cotangent, spread by the stride, convolved with the turned kernel.
    edge = [(size - 1, size - 1 + (length - size) % stride, stride - 1) for length in x.shape[1:3]]
    spread = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), ((0, 0, 0), *edge, (0, 0, 0), (0, 0, 0)))
    grad_x = _shifted_products(spread, kernel[::-1, ::-1], 1)

    # With respect to the kernel: rows are added one by one and the rest by a product with ones, as XLA's CPU back end
    # does not vectorise long sums; the barrier keeps it from turning the product back into one.
    def total(row: int, column: int) -> jax.Array:
        window = _window(x, row, column, kernel, stride)
        products = sum(window[:, i].astype(jnp.float32) * cotangent[:, i] for i in range(window.shape[1]))
        products, ones = jax.lax.optimization_barrier(
            (products.reshape(-1, channels), jnp.ones((8, products.size // channels)))
        )
        return (ones @ products)[:1]

    grad_kernel = jnp.stack([jnp.stack([total(row, column) for column in range(size)]) for row in range(size)])
    return grad_x, grad_kernel.astype(kernel.dtype)


_shifted_products.defvjp(_forward, _backward)
