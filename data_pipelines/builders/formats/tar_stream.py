"""Webdataset tars read from front to back, one sample in memory at a time.

The members of a sample follow one another and share a key: their path up to the first dot of the base name.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

from hmr_jax.io import npy

LARGEST = 256 * 2**20
"""Bytes of a member; a larger one is neither an image nor its labels."""


class DamagedTar(ValueError):
    """The tar ends early or is not a tar."""


def samples(file: BinaryIO) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The key of each sample of a tar, and its files by extension.

    Raises:
        DamagedTar: after the samples that could be read.
    """
    key, contents = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                if not member.isreg() or not stem or member.size > LARGEST:
                    continue
                content = archive.extractfile(member)
                assert content is not None
                data = content.read()
                if len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                member_key = f"{folder}/{stem}" if folder else stem
                if member_key != key and contents:
                    yield key, contents
                    contents = {}
                key = member_key
                contents[extension] = data
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DamagedTar(str(error)) from error
    if contents:
        yield key, contents


def read_masks(archive: bytes, rows: Iterable[int]) -> dict[int, np.ndarray]:
    """Some rows (H, W) of the array "masks" (n, H, W) of an npz file; the others are not kept in memory.

    Raises:
        ValueError: it is missing, damaged or of another shape or type.
    """
    wanted = set(rows)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file, file.open("masks.npy") as member:
            shape, fortran, dtype = npy.read_header(member)
            if len(shape) != 3 or fortran or dtype.kind not in "bu" or dtype.itemsize != 1:
                raise ValueError(f"masks are {dtype}{shape}")
            size = shape[1] * shape[2]
            if not 0 < size <= LARGEST:
                raise ValueError(f"masks are of {shape[1:]} px")
            found = {}
            for row in range(min(shape[0], max(wanted, default=-1) + 1)):
                data = member.read(size)
                if len(data) < size:
                    raise ValueError("masks are cut short")
                if row in wanted:
                    found[row] = np.frombuffer(data, np.uint8).reshape(shape[1:])
            return found
    except (KeyError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not an npz file with masks: {error}") from error
    except Exception as error:  # zlib.error and what NumPy raises for a forged header
        raise ValueError(f"not an npz file with masks: {error}") from error
