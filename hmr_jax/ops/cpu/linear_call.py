"""Calls that are linear in some arguments and define their own transpose: the derivatives of compiled kernels.

JAX's `custom_vjp` has no forward mode and `jax.custom_derivatives.linear_call` cannot be mapped; this has both. The
tangent of a kernel is such a call: forward mode evaluates it, reverse mode only its transpose.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Arrays = tuple[jax.Array, ...]
Call = Callable[[Arrays, Arrays], Arrays]


def linear_call(function: Call, transpose: Call, residuals: Arrays, linear: Arrays) -> Arrays:
    """Evaluates `function(residuals, linear)`.

    Args:
        function: linear in its second argument; a function of a module, since JAX compares it by identity.
        transpose: (residuals, cotangents of the results) -> cotangents of `linear`.
        residuals: the other arguments of the function; it has no derivative with respect to them.
        linear: the arguments in which it is linear.
    """
    return tuple(_primitive.bind(*residuals, *linear, function=function, transpose=transpose, split=len(residuals)))


_primitive = Primitive("hmr_jax_linear_call")
_primitive.multiple_results = True


def _evaluate(*arguments: jax.Array, function: Call, transpose: Call, split: int) -> Arrays:
    return function(arguments[:split], arguments[split:])


def _abstract(*arguments: Any, **parameters: Any) -> list[Any]:
    shapes = jax.eval_shape(lambda *arrays: _evaluate(*arrays, **parameters), *arguments)
    return [jax.core.ShapedArray(shape.shape, shape.dtype) for shape in shapes]


def _jvp(primals: Arrays, tangents: Arrays, *, split: int, **parameters: Any) -> tuple[Any, Any]:
    if not all(isinstance(tangent, ad.Zero) for tangent in tangents[:split]):
        raise NotImplementedError(
            "Kernels for CPUs have first derivatives only: for second ones set HMR_JAX_PLAIN=1, or sample by 'gather'."
        )
    moved = [ad.instantiate_zeros(tangent) for tangent in tangents[split:]]
    bind = _primitive.bind
    return bind(*primals, split=split, **parameters), bind(*primals[:split], *moved, split=split, **parameters)


def _transpose(cotangents: Any, *arguments: Any, function: Call, transpose: Call, split: int) -> list[Any]:
    given = [ad.instantiate_zeros(cotangent) for cotangent in cotangents]
    swapped = {"function": transpose, "transpose": function, "split": split}
    return [None] * split + list(_primitive.bind(*arguments[:split], *given, **swapped))


def _batch(arguments: Any, axes: Any, **parameters: Any) -> tuple[Any, Any]:
    """Maps one element after another, since a kernel may combine elements of an axis."""
    mapped = [
        None if axis is None else jax.numpy.moveaxis(argument, axis, 0)
        for argument, axis in zip(arguments, axes, strict=True)
    ]

    def one(rows: list[jax.Array | None]) -> list[jax.Array]:
        inputs = [argument if row is None else row for argument, row in zip(arguments, rows, strict=True)]
        return _primitive.bind(*inputs, **parameters)

    results = jax.lax.map(one, mapped)
    return results, [0] * len(results)


_primitive.def_impl(jax.jit(_evaluate, static_argnames=("function", "transpose", "split")))
_primitive.def_abstract_eval(_abstract)
ad.primitive_jvps[_primitive] = _jvp
ad.primitive_transposes[_primitive] = _transpose
batching.primitive_batchers[_primitive] = _batch
mlir.register_lowering(_primitive, mlir.lower_fun(_evaluate, multiple_results=True))
