"""Labels of files as arrays of numbers whose shape is the one that is expected."""

from typing import Any

import numpy as np

Shape = tuple[int | None, ...]
"""Of an array; -n: at least n, None: any."""


def numbers(where: object, name: str, value: Any, *shapes: Shape) -> np.ndarray:
    """A label as real numbers of its own type, or as float64 where it holds objects.

    Args:
        where: the file, for messages.
        name: of the label, for messages.
        value: what the file holds.
        *shapes: that it may have.

    Raises:
        ValueError: it is no array of real numbers, or of another shape.
    """
    try:
        array = np.asarray(value)
        array = np.array(array.tolist(), np.float64) if array.dtype.hasobject else array
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"'{name}' of {where} holds something else than numbers, or rows of several lengths."
        ) from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"'{name}' of {where} holds {array.dtype} instead of numbers.")
    if not any(_fits(array.shape, shape) for shape in shapes):
        wanted = " or ".join(_in_words(shape) for shape in shapes)
        raise ValueError(f"'{name}' of {where} has the shape {array.shape}, not {wanted}.")
    return array


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        side is None or (length >= -side if side < 0 else length == side)
        for length, side in zip(shape, wanted, strict=True)
    )


def _in_words(shape: Shape) -> str:
    sides = ["any" if side is None else f"at least {-side}" if side < 0 else str(side) for side in shape]
    return f"({', '.join(sides)}{',' * (len(sides) == 1)})"
