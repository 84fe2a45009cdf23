"""NumPy's npy format read from a stream: the header, then the whole array or some of its rows.

`numpy.load` reads whole files from a disk. This module reads what stands in a zip archive or at a remote address, and
a few rows of an array that is larger than the memory. Arrays of objects are pickles: they are left to
`hmr_jax.io.safe_pickle`, which takes the stream after the header.
"""

import math
from typing import IO, NamedTuple

import numpy as np

_CHUNK = 2**22  # bytes that are skipped at a time


class Header(NamedTuple):
    """What stands before the data."""

    shape: tuple[int, ...]
    fortran: bool
    """Whether the first axis varies fastest in the file."""
    dtype: np.dtype


def read_header(stream: IO[bytes]) -> Header:
    """Reads from the start of the format up to the data.

    Raises:
        ValueError: it is another format, or damaged.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return Header(*read(stream))


def read_data(stream: IO[bytes], header: Header) -> np.ndarray:
    """The array that follows its header.

    Raises:
        ValueError: the stream ends early, or holds objects.
    """
    data = _read(stream, header.dtype, math.prod(header.shape))
    return data.reshape(header.shape, order="F" if header.fortran else "C")


def read_rows(stream: IO[bytes], header: Header, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` - 1 of the array that follows its header, as far as it has them.

    Only these are held in memory, unless the first axis varies fastest: then the rows do not stand together.

    Raises:
        ValueError: the stream ends early, or the array has objects or no rows.
    """
    shape, fortran, dtype = header
    if not shape:
        raise ValueError("the array has no rows.")
    if fortran and len(shape) > 1:
        return read_data(stream, header)[start:stop].copy()
    size = math.prod(shape[1:])
    skip = dtype.itemsize * size * min(start, shape[0])
    while skip > 0:
        skipped = len(stream.read(min(skip, _CHUNK)))
        if not skipped:
            raise ValueError("the array ends early.")
        skip -= skipped
    count = max(0, min(stop, shape[0]) - start)
    return _read(stream, dtype, count * size).reshape((count, *shape[1:]))


def _read(stream: IO[bytes], dtype: np.dtype, count: int) -> np.ndarray:
    if dtype.hasobject:
        raise ValueError("the array holds objects.")
    data = stream.read(dtype.itemsize * count)
    if len(data) < dtype.itemsize * count:
        raise ValueError("the array ends early.")
    return np.frombuffer(data, dtype, count).copy()
