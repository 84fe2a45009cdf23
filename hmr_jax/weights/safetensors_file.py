"""Read safetensors files as NumPy arrays that share the file's bytes.

Format: eight bytes with the length of a JSON header, the header (name -> dtype, shape, data_offsets), then the data.
"""

import json
import math
import mmap
from typing import Any

import ml_dtypes
import numpy as np

_DTYPES: dict[str, Any] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
    "U8": np.uint8, "BOOL": np.bool_, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_LARGEST_HEADER = 100_000_000  # the format's own limit


def is_safetensors(head: bytes) -> bool:
    """Whether a file with this start is a safetensors file: a plausible header length, then "{"."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def read_safetensors(data: mmap.mmap) -> dict[str, np.ndarray]:
    """Reads a memory-mapped file as a dictionary of names to read-only arrays.

    Raises:
        ValueError: the file is damaged or cut off.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        raise ValueError("its header is cut off: download it again.")
    try:
        header = json.loads(data[8:start])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged ({error}).") from error
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            valid = all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end))
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(f"the entry '{name}' of its header is damaged.")
        if kind not in _DTYPES:
            raise ValueError(f"the tensor '{name}' has the type {kind}, which is not known.")
        dtype = np.dtype(_DTYPES[kind])
        declared = math.prod(shape) * dtype.itemsize
        if declared != end - begin or start + end > len(data):
            raise ValueError(
                f"the tensor '{name}' is declared with {declared:,} bytes, but the file holds "
                f"{max(0, min(end, len(data) - start) - begin):,} bytes for it: it is cut off or damaged."
            )
        arrays[name] = np.ndarray(shape, dtype, data, start + begin)
    return arrays
