"""Depth-wise convolution of groups of channels that share one kernel, as in DAT's offset network.

Shapes: B batch, H and W the map, h and w the result, G groups, c channels of a group, k kernel size.
"""

import functools

import jax
import jax.numpy as jnp

from hmr_jax.ops.cpu import is_plain, is_portable
from hmr_jax.ops.cpu.linear_call import Arrays, Call, linear_call


def depthwise_convolution(x: jax.Array, kernel: jax.Array, stride: int = 1, pad: int = 0) -> jax.Array:
    """Convolves each channel separately.

    Args:
        x: (B, H, W, G, c) features.
        kernel: (k, k, 1, c), the same for all groups; not flipped: this is a correlation.
        stride: distance between results, in cells of the map.
        pad: zeros around the map, on every side.

    Returns:
        (B, h, w, G, c), h = (H + 2 pad - k) // stride + 1.

    Raises:
        ValueError: the kernel is not square, or its channels are not those of a group.
    """
    if kernel.shape != (len(kernel), len(kernel), 1, x.shape[-1]):
        raise ValueError(
            f"A kernel {kernel.shape} does not fit features {x.shape}: it must be (k, k, 1, {x.shape[-1]})."
        )
    if is_plain():
        return _grouped(x, kernel, stride, pad)
    # On CPUs XLA's grouped convolution takes 20 times as long as a sum over the cells of the kernel.
    on_cpus = _by_taps if is_portable() else _on_cpus
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(on_cpus, stride=stride, pad=pad),
        default=functools.partial(_grouped, stride=stride, pad=pad),
    )


def _on_cpus(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    return _by_taps_with_kernel(x.astype(jnp.float32), kernel.astype(jnp.float32), stride, pad).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _by_taps_with_kernel(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """The same as `_by_taps` of float32 arrays; XLA would take several times as long for its gradients."""
    return _by_taps(jax.lax.optimization_barrier(x), kernel, stride, pad)  # x is computed once, not for each cell


@_by_taps_with_kernel.defjvp
def _derivative(stride: int, pad: int, primals: Arrays, tangents: Arrays) -> tuple[jax.Array, jax.Array]:
    tangent, cotangents = _derivatives(stride, pad)
    return _by_taps_with_kernel(*primals, stride, pad), linear_call(tangent, cotangents, primals, tangents)[0]


@functools.cache
def _derivatives(stride: int, pad: int) -> tuple[Call, Call]:
    """Forward and reverse mode; cached, since JAX compares functions by identity."""
    from hmr_jax.ops.cpu.depthwise_kernels import depthwise_gradients  # Numba is loaded where it is needed

    def tangent(residuals: Arrays, tangents: Arrays) -> Arrays:
        (x, kernel), (x_tangent, kernel_tangent) = residuals, tangents
        moved = _by_taps_with_kernel(x_tangent, kernel, stride, pad)
        return (moved + _by_taps_with_kernel(x, kernel_tangent, stride, pad),)

    def cotangents(residuals: Arrays, given: Arrays) -> Arrays:
        x, kernel = residuals
        return depthwise_gradients(x, kernel, given[0], stride, pad)

    return tangent, cotangents


def _by_taps(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """A sum over the cells of the kernel, which XLA makes one loop of."""
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0), (0, 0)))
    rows, columns = (side - len(kernel) + 1 for side in padded.shape[1:3])
    y = jnp.zeros((), x.dtype)
    for i in range(len(kernel)):
        row = jax.lax.slice_in_dim(padded, i, i + rows, stride, 1)  # an index would be a gather for symbolic batches
        for j in range(len(kernel)):
            y = y + kernel[i, j] * jax.lax.slice_in_dim(row, j, j + columns, stride, 2)
    return y


def _grouped(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    batch, height, width, groups, channels = x.shape
    maps = jnp.moveaxis(x, 3, 1).reshape(-1, height, width, channels)  # (B G, H, W, c)
    y = jax.lax.conv_general_dilated(
        maps, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )  # fmt: skip
    return jnp.moveaxis(y.reshape(batch, groups, *y.shape[1:]), 1, 3)
