"""Reads one variable of a CDF file (NASA's Common Data Format), the container of Human3.6M's poses.

Human3.6M's files are CDF version 3, which may be compressed as a whole or block by block, with one variable "Pose".
Nothing else is read; cdflib reads all of CDF. Format: "CDF Internal Format Description", NASA, version 3.x.
Numbers of the format's own records are big-endian; offsets count bytes from the start of the file.
"""

import gzip
import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

_MAGIC, _COMPRESSED, _PLAIN = 0xCDF30001, 0xCCCC0001, 0x0000FFFF
_CDR, _GDR, _ZVDR, _RVDR, _VXR, _VVR, _CPR, _CCR, _CVVR = 1, 2, 8, 3, 6, 7, 11, 10, 13
_GZIP = 5
_INFLATES = 1100  # deflate makes a byte of no more than 1032
# CDF data type: NumPy's.
_TYPES = {21: "f4", 22: "f8", 44: "f4", 45: "f8", 1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4"}
_LITTLE, _BIG = (4, 6, 13, 16, 17), (1, 2, 5, 7, 9, 11, 12, 18)  # encodings of the data; VAX's are not read


class _Variable(NamedTuple):
    records: int
    first_index: int
    dtype: np.dtype
    shape: tuple[int, ...]


def read_variable(data: bytes, name: str) -> np.ndarray:
    """The values of a variable, (records, *its own shape).

    Args:
        data: the whole file.
        name: of the variable.

    Raises:
        ValueError: it is not a CDF 3 file, is damaged, lacks the variable, or uses a feature that is not read here.
    """
    try:
        return _read(data, name)
    except (struct.error, IndexError, zlib.error, OSError, EOFError, OverflowError, RecursionError) as error:
        raise ValueError(f"a damaged or truncated CDF file ({error})") from error


def _read(data: bytes, name: str) -> np.ndarray:
    magic, kind = struct.unpack_from(">II", data)
    if magic != _MAGIC or kind not in (_PLAIN, _COMPRESSED):
        raise ValueError("not a CDF file of version 3")
    if kind == _COMPRESSED:
        data = data[:8] + _inflate_file(data)
    _expect(data, 8, _CDR)
    gdr, _, _, encoding, flags = struct.unpack_from(">qiiii", data, 20)
    if encoding not in _LITTLE + _BIG:
        raise ValueError(f"CDF encoding {encoding}")
    order = "<" if encoding in _LITTLE else ">"
    _expect(data, gdr, _GDR)
    first_r, first_z = struct.unpack_from(">qq", data, gdr + 12)
    dimensions = struct.unpack_from(">i", data, gdr + 56)[0]
    sizes = struct.unpack_from(f">{dimensions}i", data, gdr + 84)
    visited: set[int] = set()
    for offset, record_type in ((first_z, _ZVDR), (first_r, _RVDR)):
        while offset:
            _visit(visited, offset)
            _expect(data, offset, record_type)
            following = struct.unpack_from(">q", data, offset + 12)[0]
            if data[offset + 84 : offset + 340].split(b"\0")[0].strip().decode("latin1") == name:
                return _values(data, _describe(data, offset, record_type, sizes, order), row_major=bool(flags & 1))
            offset = following
    raise ValueError(f"no variable '{name}' in the CDF file")


def _describe(data: bytes, offset: int, record_type: int, sizes: tuple[int, ...], order: str) -> _Variable:
    """What the variable's descriptor says."""
    data_type, last = struct.unpack_from(">ii", data, offset + 20)
    index = struct.unpack_from(">q", data, offset + 28)[0]
    elements = struct.unpack_from(">i", data, offset + 64)[0]
    if data_type not in _TYPES or elements != 1:
        raise ValueError(f"CDF data type {data_type}")
    after = offset + 340
    if record_type == _ZVDR:
        count = struct.unpack_from(">i", data, after)[0]
        sizes = struct.unpack_from(f">{count}i", data, after + 4)
        after += 4 + 4 * count
    varies = struct.unpack_from(f">{len(sizes)}i", data, after)
    shape = tuple(size if vary else 1 for size, vary in zip(sizes, varies, strict=True))
    return _Variable(last + 1, index, np.dtype(order + _TYPES[data_type]), shape)


def _values(data: bytes, variable: _Variable, row_major: bool) -> np.ndarray:
    """Collects the blocks of records that the variable's index names."""
    size = variable.dtype.itemsize * math.prod(variable.shape)
    if variable.records < 0 or min(variable.shape, default=1) < 1 or variable.records * size > _INFLATES * len(data):
        raise IndexError("a variable larger than the file can hold")
    values = bytearray(variable.records * size)
    index, visited, found = variable.first_index, set[int](), set[int]()
    while index:
        index = _index(data, index, values, size, visited, found)
    if len(found) < variable.records:
        raise IndexError("records without values")
    array = np.frombuffer(bytes(values), variable.dtype)
    if row_major:
        return array.reshape(variable.records, *variable.shape)
    array = array.reshape(variable.records, *variable.shape[::-1])
    return array.transpose(0, *range(array.ndim - 1, 0, -1))


def _index(data: bytes, offset: int, values: bytearray, size: int, visited: set[int], found: set[int]) -> int:
    """Copies the blocks of one index record, and of those below it; returns where the next index is.

    Args:
        data: the whole file.
        offset: of the index record.
        values: takes the blocks.
        size: bytes of a record of the variable.
        visited: offsets of the index records so far.
        found: takes the numbers of the variable's records whose values are there.
    """
    _visit(visited, offset)
    _expect(data, offset, _VXR)
    following, entries, used = struct.unpack_from(">qii", data, offset + 12)
    first = struct.unpack_from(f">{entries}i", data, offset + 28)
    last = struct.unpack_from(f">{entries}i", data, offset + 28 + 4 * entries)
    where = struct.unpack_from(f">{entries}q", data, offset + 28 + 8 * entries)
    for begin, end, block in list(zip(first, last, where, strict=True))[:used]:
        length, record_type = struct.unpack_from(">qi", data, block)
        if record_type == _VXR:
            while block:
                block = _index(data, block, values, size, visited, found)
            continue
        if record_type == _VVR:
            content = data[block + 12 : block + length]
        elif record_type == _CVVR:
            compressed = struct.unpack_from(">q", data, block + 16)[0]
            content = gzip.decompress(data[block + 24 : block + 24 + compressed])
        else:
            raise ValueError(f"CDF record {record_type} where values should be")
        expected = (end - begin + 1) * size
        if len(content) < expected or not 0 <= begin <= end or (end + 1) * size > len(values):
            raise IndexError("values end early")
        values[begin * size : begin * size + expected] = content[:expected]
        found.update(range(begin, end + 1))
    return following


def _inflate_file(data: bytes) -> bytes:
    """What follows the magic numbers of a compressed file, uncompressed."""
    _expect(data, 8, _CCR)
    length = struct.unpack_from(">q", data, 8)[0]
    parameters, original = struct.unpack_from(">qq", data, 20)
    _expect(data, parameters, _CPR)
    method = struct.unpack_from(">i", data, parameters + 12)[0]
    if method != _GZIP:
        raise ValueError(f"CDF compression {method}; only gzip is read")
    content = gzip.decompress(data[40 : 8 + length])
    if len(content) != original:
        raise EOFError("the compressed part ends early")
    return content


def _visit(visited: set[int], offset: int) -> None:
    if offset in visited:
        raise IndexError("records in a circle")
    visited.add(offset)


def _expect(data: bytes, offset: int, record_type: int) -> None:
    if offset < 0 or struct.unpack_from(">i", data, offset + 8)[0] != record_type:
        raise IndexError(f"no record {record_type} where it should be")
