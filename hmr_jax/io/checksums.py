"""A checksum for each file of a folder of arrays, so that a damaged file is named instead of read as other numbers.

The checksums are in `checksums.json` in the folder: for each file its size and its CRC-32 (zlib's, which every
installation has and which reads more than 2 GB a second). A folder without this file was written before it existed.
"""

import json
import mmap
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hmr_jax.io.json_files import write_json

NAME = "checksums.json"


def write_checksums(folder: Path) -> None:
    """Writes the checksums of all files of a folder and its subfolders; the folder must be complete."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name != NAME]
    with ThreadPoolExecutor() as pool:
        files = dict(zip(names, pool.map(_measure, [folder / name for name in names]), strict=True))
    write_json(folder / NAME, {"crc32": files})


def verify_checksums(folder: Path) -> None:
    """Reads all files of a folder and compares them with its checksums, if it has any.

    Raises:
        ValueError: a file is damaged, cut off or missing, or the list of checksums is; the message names it.
    """
    path = folder / NAME
    if not path.exists():
        return
    try:
        wanted = {name: (size, checksum) for name, (size, checksum) in json.loads(path.read_bytes())["crc32"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"the list of checksums {path} is damaged.") from None
    with ThreadPoolExecutor() as pool:
        for name, found in zip(wanted, pool.map(_measure, [folder / name for name in wanted]), strict=True):
            if found is None:
                raise ValueError(f"the file {folder / name} is missing.")
            if found[0] != wanted[name][0]:
                raise ValueError(f"the file {folder / name} has {found[0]:,} bytes instead of {wanted[name][0]:,}.")
            if found != wanted[name]:
                raise ValueError(f"the file {folder / name} is damaged: its checksum is not that of what was written.")


def _measure(path: Path) -> tuple[int, int] | None:
    """Size and CRC-32 of a file; None if there is none."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    if not size:
        return 0, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return size, zlib.crc32(data)
