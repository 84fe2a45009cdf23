"""Read checkpoints of PyTorch and Hugging Face as NumPy arrays, without PyTorch and without running their code.

    state = read_torch_checkpoint("vitpose_huge.pth")       # {"backbone.pos_embed": array, ...}

The arrays share the memory-mapped file: nothing is read before it is used. Half precision is kept.
"""

import io
import json
import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmr_jax.io.safe_pickle import RefusedPickleError
from hmr_jax.weights import torch_pickle
from hmr_jax.weights.safetensors_file import is_safetensors, read_safetensors
from hmr_jax.weights.torch_pickle import Storage, Tensor

# Start of the files of `torch.save` before 1.6: the pickled number 0x1950a86a20f9469cfc6c.
_LEGACY_START = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FOLDER_FILES = (
    "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin",
)  # fmt: skip


def read_torch_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the weights of a checkpoint by name.

    Args:
        path: a .pth, .pt, .ckpt or .bin file of `torch.save` (its zip format, or that of before version 1.6), a
            .safetensors file, or a folder of Hugging Face with one of these, also in several parts. It is recognised by
            content. Of a checkpoint that holds more (Lightning, mmpose) only the weights are read.

    Returns:
        Names to read-only arrays on the memory-mapped file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, cut off, or not a checkpoint; the message says what it is.
    """
    return read_torch_weights(path).state


class Weights(NamedTuple):
    """What a checkpoint holds."""

    state: dict[str, np.ndarray]
    """Names to read-only arrays."""
    key: str = ""
    """Of the checkpoint, under which they are; empty: they are all of it."""
    others: dict[str, int] = {}  # noqa: RUF012 - never changed
    """Other keys under which there are weights by name, such as averaged ones, and the number of tensors."""
    prefix: str | None = None
    """The prefix without the key."""


def read_torch_weights(path: str | Path, prefix: str | None = None) -> Weights:
    """Reads the weights of a checkpoint, and says which others it holds.

    Args:
        path: see `read_torch_checkpoint`.
        prefix: starts with the key of other weights than the usual ones, such as "state_dict_ema.", to choose them.

    Raises:
        OSError, ValueError: as `read_torch_checkpoint` does.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_folder(path, prefix)
        return _read_file(path, prefix)
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path} is refused. {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def checkpoint_files(path: str | Path) -> list[Path]:
    """The files that `read_torch_checkpoint` reads, in order.

    Raises:
        FileNotFoundError: there is none.
        ValueError: an index of parts is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
        return [path]
    lacking = ""
    for name in _FOLDER_FILES:
        if not (path / name).exists():
            continue
        if not name.endswith(".json"):
            return [path / name]
        try:
            parts = sorted(set(json.loads((path / name).read_text())["weight_map"].values()))
            valid = bool(parts) and all(Path(part).name == part for part in parts)
        except (ValueError, KeyError, TypeError, AttributeError):
            valid = False
        if not valid:
            raise ValueError(f"{name} is not a list of parts as Hugging Face writes it.")
        missing = [part for part in parts if not (path / part).exists()]
        if not missing:
            return [path / part for part in parts]
        lacking = lacking or f"{path} lacks {', '.join(missing)}, which its {name} lists."
    raise FileNotFoundError(lacking or f"{path} holds no checkpoint: expected one of {', '.join(_FOLDER_FILES)}.")


def _read_folder(path: Path, prefix: str | None) -> Weights:
    state: dict[str, np.ndarray] = {}
    for part in checkpoint_files(path):
        weights = _read_file(part, prefix)
        for name, array in weights.state.items():
            if name in state:
                raise ValueError(f"the tensor '{name}' is in more than one part.")
            state[name] = array
    return weights._replace(state=state)


def _read_file(path: Path, prefix: str | None) -> Weights:
    checkpoint_files(path)
    with path.open("rb") as file:
        head = file.read(512)
        if not head:
            raise ValueError("it is empty.")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if head.startswith(b"PK\x03\x04"):
            return _read_zip(data, prefix)
        if _LEGACY_START in head[:16]:
            return _read_legacy(file, data, prefix)
    if is_safetensors(head):
        return Weights(read_safetensors(data), prefix=prefix)
    raise ValueError(_what_else(head))


def _what_else(head: bytes) -> str:
    """What a file that is not a checkpoint is, by its first bytes."""
    if head[257:262] == b"ustar":
        return (
            "it is a tar archive: unpack it and name the checkpoint inside. (PyTorch wrote checkpoints as tar before "
            "version 0.1.10; load and save such a file once with PyTorch.)"
        )
    if head.startswith(b"\x1f\x8b"):
        return "it is packed with gzip: unpack it (tar -xf) and name the checkpoint inside."
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs, not the file itself: fetch it with 'git lfs pull'."
    if head.lstrip()[:1] == b"<":
        return "it is a web page: the download did not give the file."
    if head.startswith(b"\x80") or head[:1] in (b"(", b"]", b"}"):
        return "it is a pickle, but not one that torch.save wrote."
    return "it is not a checkpoint of PyTorch or safetensors."


# ----------------------------------------------------------------------------------------------------- the zip format


def _read_zip(data: mmap.mmap, prefix: str | None) -> Weights:
    entries = _zip_entries(data)
    names = {name.partition("/")[2]: name for name in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise ValueError("it is a TorchScript program: load it with torch.jit.load and save its state_dict().")
    if "data.pkl" not in names:
        numpy = entries and all(name.endswith(".npy") for name in entries)
        raise ValueError("it is an npz file of NumPy." if numpy else "it is a zip file, but not one of torch.save.")

    def member(name: str) -> memoryview:
        return _zip_member(data, entries[names[name]])

    content = torch_pickle.load(io.BytesIO(member("data.pkl")))
    byte_order = ">" if "byteorder" in names and bytes(member("byteorder")) == b"big" else "<"

    def storage(wanted: Storage, tensor: str) -> memoryview:
        if f"data/{wanted.key}" not in names:
            raise ValueError(f"the tensor '{tensor}' has no data in it: the file is damaged.")
        return member(f"data/{wanted.key}")

    return _arrays(torch_pickle.state_dict(content, prefix), storage, byte_order, len(data))


def _zip_entries(data: mmap.mmap) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_Reader(data)) as archive:
            return {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeDecodeError, OSError) as error:
        raise ValueError(
            f"it starts as a checkpoint but is cut off or damaged ({error}): download it again."
        ) from error


class _Reader(io.RawIOBase):
    """A memory map as a seekable file: `zipfile` closes its file, but the arrays still need the map."""

    def __init__(self, data: mmap.mmap):
        self._data, self._position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}[whence]
        if position < 0:
            raise OSError("seek before the start")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _zip_member(data: mmap.mmap, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member, which torch does not compress."""
    if info.flag_bits & 1:
        raise ValueError("it is an encrypted zip file: unpack it with its password first.")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(
            "its members are compressed, which torch.save never does: unpack the file, or save it again with PyTorch."
        )
    header = data[info.header_offset : info.header_offset + 30]
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise ValueError(f"its member {info.filename} is damaged.")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name_length + extra_length
    if start + info.file_size > len(data) or info.compress_size != info.file_size:
        raise ValueError(f"its member {info.filename} is cut off or damaged.")
    return memoryview(data)[start : start + info.file_size]


# --------------------------------------------------------------------------------------------- the format before 1.6


def _read_legacy(file: Any, data: mmap.mmap, prefix: str | None) -> Weights:
    file.seek(0)
    torch_pickle.load(file)  # the magic number
    version, machine = torch_pickle.load(file), torch_pickle.load(file)
    if version != 1001:
        raise ValueError(f"it is of version {version!r} of PyTorch's old format, not 1001: save it again with PyTorch.")
    byte_order = "<" if not isinstance(machine, dict) or machine.get("little_endian", True) else ">"
    storages: dict[str, Storage] = {}
    weights = torch_pickle.state_dict(torch_pickle.load(file, storages), prefix)
    keys = torch_pickle.load(file)
    offset, found = file.tell(), {}
    for key in keys if isinstance(keys, list) else []:
        length = int.from_bytes(data[offset : offset + 8], "little" if byte_order == "<" else "big", signed=True)
        if key not in storages or length != storages[key].length:
            raise ValueError("the list of its data is damaged.")
        size = length * storages[key].dtype.itemsize
        found[key] = memoryview(data)[offset + 8 : offset + 8 + size]
        offset += 8 + size

    def storage(wanted: Storage, tensor: str) -> memoryview:
        if wanted.key not in found:
            raise ValueError(f"the tensor '{tensor}' has no data in it: the file is cut off or damaged.")
        return found[wanted.key]

    return _arrays(weights, storage, byte_order, len(data))


# -------------------------------------------------------------------------------------------------------------- both


def _arrays(
    found: torch_pickle.Found, storage: Callable[[Storage, str], memoryview], byte_order: str, largest: int
) -> Weights:
    arrays = {}
    for name, value in found.state.items():
        if not isinstance(value, Tensor):
            arrays[name] = np.asarray(value)
            continue
        buffer = storage(value.storage, name)
        declared = value.storage.length * value.storage.dtype.itemsize
        if declared > len(buffer):
            raise ValueError(
                f"the tensor '{name}' is declared with {declared:,} bytes, but the file holds {len(buffer):,} bytes "
                "for it: it is cut off, damaged or forged."
            )
        arrays[name] = torch_pickle.to_array(value, name, buffer, byte_order, largest)
    return Weights(arrays, *found[1:])
