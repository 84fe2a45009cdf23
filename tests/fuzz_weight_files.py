"""The ways in which PyTorch and others write the weights that fuzz_weights.py changes."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from torch_zip import Declared, write_torch_legacy, write_torch_zip

NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64", np.dtype(np.float16): "F16",
         np.dtype(ml_dtypes.bfloat16): "BF16", np.dtype(bool): "BOOL", np.dtype(np.int64): "I64",
         np.dtype(np.uint8): "U8"}  # fmt: skip


def tensor(array: Any, rng: random.Random) -> Any:
    """A tensor in one of the ways in which it may lie in a storage."""
    if not isinstance(array, np.ndarray) or not array.size or array.dtype.kind in "OSU":
        return array
    form = rng.randrange(5)
    array = np.ascontiguousarray(array)
    strides = [stride // array.itemsize for stride in array.strides]
    if form == 0:  # transposed
        turned = np.ascontiguousarray(array.T)
        back = tuple(stride // array.itemsize for stride in reversed(turned.strides))
        return Declared(turned.ravel(), array.shape, back, array.size)
    if form == 1:  # in the middle of a larger storage
        before, after = rng.randrange(9), rng.randrange(9)
        storage = np.pad(array.ravel(), (before, after), constant_values=array.dtype.type(1))
        return Declared(storage, array.shape, tuple(strides), storage.size, before)
    if form == 2 and array.ndim:  # every second row
        wide = np.repeat(array, 2, 0)
        return Declared(wide.ravel(), array.shape, (2 * strides[0], *strides[1:]), wide.size)
    return array


def wrapped(state: dict[str, Any], rng: random.Random) -> tuple[Any, str | None]:
    """A checkpoint around the weights, and the prefix that must be given, if any."""
    if rng.random() < 0.3:
        start = rng.choice(("module.", "_orig_mod.", "model.", "net.encoder_and_head.", "module.model."))
        state = {start + name: array for name, array in state.items()}
    kind = rng.randrange(6)
    if kind == 0:
        return state, None
    other = {name: np.zeros(2, np.float32) for name in ("a.weight", "b.weight")}
    more = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.zeros(3, np.float32)}}}, "lr": 1e-4}
    if kind == 1:
        return more | {"state_dict": state, "state_dict_ema": other}, None
    if kind == 2:
        return {"state_dict_ema": state, "state_dict": other}, "state_dict_ema."
    return more | {rng.choice(("state_dict", "model", "module", "params", "net")): state}, None


def write_safetensors(path: Path, state: dict[str, Any], rng: random.Random) -> None:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in state.items():
        kept = np.ascontiguousarray(array)
        entry = {"dtype": NAMES[kept.dtype], "shape": kept.shape, "data_offsets": [len(data), len(data) + kept.nbytes]}
        header[name] = entry  # type: ignore[assignment]
        data += kept.tobytes()
    text = json.dumps(header).encode() + b" " * rng.randrange(8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write(path: Path, state: dict[str, Any], rng: random.Random) -> tuple[bool, str | None]:
    """Writes a file or a folder; whether damage of it must be noticed, and the prefix that must be given."""
    keys = rng.sample(list(state), len(state))
    state = {key: state[key] for key in keys}
    kind = rng.randrange(6)
    if kind == 0:
        write_safetensors(path, state, rng)
        return False, None
    if kind == 1:
        path.mkdir()
        parts: list[dict[str, Any]] = [{}, {}, {}]
        for name, array in state.items():
            rng.choice(parts)[name] = array
        suffix = rng.choice(("safetensors", "bin"))
        files = {}
        for number, part in enumerate(parts):
            file = path / f"part-{number}.{suffix}"
            if suffix == "bin":
                write_torch_zip(file, part)
            else:
                write_safetensors(file, part, rng)
            files |= dict.fromkeys(part, file.name)
        stem = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
        (path / f"{stem}.index.json").write_text(json.dumps({"weight_map": files}))
        return False, None
    content, prefix = wrapped({name: tensor(array, rng) for name, array in state.items()}, rng)
    if kind == 2:
        write_torch_legacy(path, content)
        return False, prefix
    write_torch_zip(path, content)
    return True, prefix
