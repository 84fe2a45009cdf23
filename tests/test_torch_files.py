"""PyTorch's and safetensors' files are read without PyTorch, without running them, and damaged ones with a reason."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from torch_zip import Declared, Raw, name, write_torch_zip

from hmr_jax.weights import read_torch_checkpoint
from hmr_jax.weights.state import release_pages
from hmr_jax.weights.torch_files import checkpoint_files

DATA = Path(__file__).parent / "data"
BASE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("file", ["torch_zip.pth", "torch_legacy.pth", "lightning.ckpt", "lightning_legacy.ckpt"])
def test_what_pytorch_wrote_is_read(file):
    state = read_torch_checkpoint(DATA / file)
    wanted = {
        "weight": BASE,
        "transposed": BASE.T,
        "part": BASE[1:, ::2],
        "half": np.array([0.5, 1.5], np.float16),
        "brain": np.array([1, -2, 3], ml_dtypes.bfloat16),
        "counter": np.array(7),
        "flags": np.array([True, False]),
        "repeated": np.ones(4, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.full((2, 2), 0.25, np.float32),
    }
    assert list(state) == list(wanted)
    for key, value in wanted.items():
        assert state[key].dtype == value.dtype, key
        np.testing.assert_array_equal(state[key], value)
    assert np.shares_memory(state["weight"], state["transposed"])


def test_reading_imports_no_torch_and_copies_nothing(tmp_path):
    big = np.zeros((1000, 5000), np.float32)
    path = write_torch_zip(tmp_path / "big.pth", {"a": big, "b": big})
    tracemalloc.start()
    state = read_torch_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < big.nbytes / 20
    assert not state["a"].flags.writeable
    assert "torch" not in sys.modules
    total = state["a"].sum()
    release_pages(state["a"])  # the pages come back when they are read again
    assert state["a"].sum() == total


def test_the_writer_of_the_tests_writes_what_pytorch_writes(tmp_path):
    state = read_torch_checkpoint(DATA / "torch_zip.pth")
    again = read_torch_checkpoint(write_torch_zip(tmp_path / "a.pth", {"state_dict": dict(state), "epoch": 3}))
    assert list(again) == list(state)
    for key in state:
        np.testing.assert_array_equal(again[key], state[key])


# ---------------------------------------------------------------------------------------------- bad files, one by one


def zip_of(**content):
    return lambda path: write_torch_zip(path, content)


def cut(share):
    def make(path):
        write_torch_zip(path, {"a": np.zeros(1000, np.float32)})
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return make


def encrypted(path):
    write_torch_zip(path, {"a": BASE})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1  # the flag in the central directory
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)


def overlong_member(path):
    """A member that is said to be longer than the file."""
    write_torch_zip(path, {"a": BASE})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 4)
    at = data.find(b"PK\x01\x02", at + 4)
    data[at + 20 : at + 28] = struct.pack("<II", 2**30, 2**30)
    path.write_bytes(data)


def without_data(path):
    whole = write_torch_zip(path.with_name("whole.pth"), {"a": BASE})
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            if "/data/" not in info.filename:
                new.writestr(info, old.read(info))


def running(module, attribute):
    opcodes = name(module, attribute) + b"(X\x04\x00\x00\x00echotR"
    return lambda path: write_torch_zip(path, {"a": BASE, "b": Raw(opcodes)})


def text(content):
    return lambda path: path.write_bytes(content)


def safetensors(header, data=b""):
    encoded = json.dumps(header).encode()
    return text(struct.pack("<Q", len(encoded)) + encoded + data)


FORGED = Declared(np.zeros(100, np.float32), (50_000, 50_000), (50_000, 1), 2_500_000_000)
SHORT = Declared(np.zeros(100, np.float32), (101,), (1,), 100)
REPEATED = Declared(np.zeros(1, np.float32), (50_000, 50_000), (0, 0), 1)
NEGATIVE = Declared(np.zeros(100, np.float32), (10,), (-1,), 100, 50)
BAD = {
    "empty": (text(b""), "it is empty"),
    "text": (text(b"hello world, this is no checkpoint"), "not a checkpoint of PyTorch or safetensors"),
    "web page": (text(b"<!DOCTYPE html><html>404</html>"), "a web page"),
    "git-lfs": (text(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), "git lfs pull"),
    "gzip": (text(b"\x1f\x8b\x08\x00" + bytes(40)), "tar -xf"),
    "tar": (text(bytes(257) + b"ustar" + bytes(250)), "tar archive"),
    "other pickle": (text(b"\x80\x04}\x94."), "not one that torch.save wrote"),
    "zip cut in half": (cut(0.5), "cut off or damaged"),
    "zip cut at the end": (cut(0.98), "cut off or damaged"),
    "encrypted": (encrypted, "encrypted"),
    "compressed": (lambda path: write_torch_zip(path, {"a": BASE}, zipfile.ZIP_DEFLATED), "members are compressed"),
    "overlong member": (overlong_member, "cut off or damaged"),
    "npz": (lambda path: np.savez(path.open("wb"), a=BASE), "an npz file of NumPy"),
    "TorchScript": (lambda path: write_torch_zip(path, {}, extra={"constants.pkl": b"."}), "TorchScript"),
    "10 GB in 1 kB": (zip_of(a=FORGED), r"'a' is declared with 10,000,000,000 bytes, but the file holds 400 bytes"),
    "one number too many": (zip_of(a=SHORT), r"declared with 404 bytes, but the file holds 400 bytes"),
    "repeated to 10 GB": (zip_of(a=REPEATED), r"declared with 10,000,000,000 bytes"),
    "negative stride": (zip_of(a=NEGATIVE), "impossible shape"),
    "os.system": (running("os", "system"), r"asks to run os\.system.*Nothing was run"),
    "posix": (running("posix", "system"), r"asks to run posix\.system"),
    "Python 2": (running("commands", "getoutput"), r"asks to run commands\.getoutput"),
    "eval": (running("builtins", "eval"), r"asks to run builtins\.eval"),
    "getattr": (running("builtins", "getattr"), r"asks to run builtins\.getattr"),
    "entry of an external class": (running("project", "Layer"), r"the entry 'b' of its weights is a project\.Layer"),
    "no weights": (zip_of(epoch=3, loss=0.5), "it holds no weights, but only: epoch, loss"),
    "missing data": (without_data, "'a' has no data in it"),
    "memo of 17 GB": (lambda path: write_torch_zip(path, Raw(b"]r\xff\xff\xff\x7f")), "by name|absurd memo indices"),
    "damaged pickle": (lambda path: write_torch_zip(path, Raw(b"}(X\xff")), "not a pickle, or a damaged"),
    "safetensors cut": (
        safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
        "'a' is declared with 16 bytes, but the file holds 8 bytes",
    ),
    "safetensors forged": (
        safetensors({"a": {"dtype": "F32", "shape": [50_000, 50_000], "data_offsets": [0, 16]}}, bytes(16)),
        "'a' is declared with 10,000,000,000 bytes",
    ),
    "safetensors header": (text(struct.pack("<Q", 1000) + b'{"a": {"dtype"'), "header is cut off"),
    "safetensors type": (
        safetensors({"a": {"dtype": "Q4", "shape": [4], "data_offsets": [0, 2]}}, bytes(2)),
        "has the type Q4",
    ),
    "safetensors entry": (safetensors({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 2]}}), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_the_reason(case, tmp_path):
    make, message = BAD[case]
    path = tmp_path / "file.pth"
    made = make(path)
    if hasattr(made, "close"):
        made.close()
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        read_torch_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 5e6


def test_a_whole_model_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"a whole pickled model \(a_project_that_is_not_installed\.Settings\)"):
        read_torch_checkpoint(DATA / "torch_object.pth")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nothing\.pth"):
        read_torch_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint: expected one of model\.safetensors"):
        read_torch_checkpoint(tmp_path)


def test_every_cut_and_every_changed_byte_of_a_small_file_is_read_or_refused():
    """No other exception, no crash, and no large allocation: in a process with little memory to spare."""
    code = f"""
import sys, resource, random, pathlib, tempfile
sys.path.insert(0, {str(Path(__file__).parent)!r})
from hmr_jax.weights import read_torch_checkpoint
resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2)
rng = random.Random(0)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "x")
    for file in ("torch_zip.pth", "torch_legacy.pth", "lightning.ckpt"):
        data = pathlib.Path({str(DATA)!r}, file).read_bytes()
        for turn in range(250):
            bad = bytearray(data)
            if turn % 3 == 0:
                bad = bad[: rng.randrange(len(bad))]
            else:
                for _ in range(turn % 3 + turn % 5):
                    bad[rng.randrange(len(bad))] = rng.randrange(256)
            path.write_bytes(bad)
            try:
                read_torch_checkpoint(path)
            except (ValueError, OSError):
                pass
"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


# ----------------------------------------------------------------------------------------------------- other containers


def write_safetensors(path: Path, state: dict[str, np.ndarray]) -> Path:
    """The format in a few lines."""
    kinds = {"float32": "F32", "bfloat16": "BF16", "int64": "I64", "float16": "F16"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, array in state.items():
        raw = array.tobytes()
        span = [len(data), len(data) + len(raw)]
        header[key] = {"dtype": kinds[str(array.dtype)], "shape": list(array.shape), "data_offsets": span}
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def test_folders_of_hugging_face_in_one_or_several_parts(tmp_path):
    state = {"a": BASE, "b": np.array([1, 2], ml_dtypes.bfloat16)}
    write_safetensors(tmp_path / "model.safetensors", state)
    write_torch_zip(tmp_path / "pytorch_model.bin", {"a": BASE + 1})  # the older file of the two is not read
    read = read_torch_checkpoint(tmp_path)
    assert read["b"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(read["a"], BASE)

    parts = tmp_path / "parts"
    parts.mkdir()
    write_safetensors(parts / "model-1.safetensors", {"a": BASE})
    write_safetensors(parts / "model-2.safetensors", {"b": BASE + 1})
    index = parts / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    np.testing.assert_array_equal(read_torch_checkpoint(parts)["b"], BASE + 1)
    (parts / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model-2\.safetensors"):
        read_torch_checkpoint(parts)
    write_safetensors(parts / "model.safetensors", {"c": BASE})  # a whole file beside an index whose parts are gone
    assert list(read_torch_checkpoint(parts)) == ["c"]
    assert checkpoint_files(parts) == [parts / "model.safetensors"]
    (parts / "model.safetensors").rename(parts / "pytorch_model.bin")
    assert list(read_torch_checkpoint(parts)) == ["c"]
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(ValueError, match="not a list of parts"):
        read_torch_checkpoint(parts)

    old = tmp_path / "old"
    old.mkdir()
    write_torch_zip(old / "pytorch_model.bin", {"a": BASE})
    np.testing.assert_array_equal(read_torch_checkpoint(old)["a"], BASE)
