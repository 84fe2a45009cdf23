"""Fuzzes the readers of files from the internet: pickles, npz, npy, tars and TensorFlow Lite.

    python tests/fuzz.py --minutes 10

Whatever is in a file, a reader returns something or raises ValueError, within the memory it is given, and nothing of
the file is run: an audit hook watches for programs, imports, files and compiled code. tests/test_fuzz.py runs a bounded
number of the same examples, and the files that once broke a reader.
"""

import argparse
import encodings.cp437  # noqa: F401 - the standard library imports it for names in zip files
import io
import pickle
import random
import resource
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_pipelines.builders.formats.tar_stream import DamagedTar, read_masks, samples
from hmr_jax.io import safe_pickle
from hmr_jax.io.research_files import _read_npy, _read_npz, _resolve, evaluate
from hmr_jax.weights.tflite_file import parse_tflite

# Not "compile": NumPy parses the headers of its files with ast.literal_eval.
FORBIDDEN = ("os.", "subprocess.", "exec", "import", "open", "socket.", "shutil.", "ctypes.", "marshal.")
# Python 3.12's tokenizer, which NumPy uses for headers of Python 2, looks for its own source text under this name.
HARMLESS = ("open", ("<string>", "rb", 0))
_watching: list[str] | None = None


def _hook(event: str, arguments: tuple) -> None:
    if _watching is not None and event.startswith(FORBIDDEN) and (event, arguments) != HARMLESS:
        _watching.append(f"{event}{arguments!r:.200}")


sys.addaudithook(_hook)


def seeds() -> dict[str, list[bytes]]:
    """Whole files of each kind, which the mutations start from."""
    person = {
        "keypoints_2d": np.ones((4, 3), np.float32), "center": np.zeros(2), "personid": 3, "has_betas": np.array(1.0),
        "extra_info": {"fitting_loss": np.array({"reprojection_loss": 7.0}, object)}, "image_file": "a/b.jpg",
    }  # fmt: skip
    pickles = [pickle.dumps([person], protocol) for protocol in (0, 1, 2, 3, 4, 5)]
    pickles += [path.read_bytes() for path in sorted((Path(__file__).parent / "data").glob("python2_*.pkl"))]
    arrays = {"center": np.zeros((3, 2)), "names": np.array(["a", "bc", "d"]), "info": np.array([person, None], object)}
    npz, npy, masks = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(npz, **arrays)
    np.save(npy, np.arange(12.0).reshape(3, 4))
    np.savez_compressed(masks, masks=np.ones((2, 5, 6), bool))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in (("set/0.jpg", b"\xff\xd8 no image"), ("set/0.data.pyd", pickles[2]), ("set/1.jpg", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    layouts = [getattr(scipy.sparse, f"{layout}_matrix") for layout in ("csc", "coo", "lil", "dok", "bsr", "dia")]
    sparse = [pickle.dumps({"J_regressor": layout(np.eye(4, 6)), "m": np.matrix([[1, 2]])}, 2) for layout in layouts]
    return {
        "pickle": pickles, "sparse": sparse, "npz": [npz.getvalue()], "npy": [npy.getvalue()],
        "masks": [masks.getvalue()], "tar": [tar.getvalue()],
        "tflite": [path.read_bytes() for path in sorted((Path(__file__).parent / "data").glob("*.tflite"))],
    }  # fmt: skip


READERS: dict[str, Callable[[bytes], object]] = {
    "pickle": lambda data: safe_pickle.load(io.BytesIO(data), _resolve),
    "sparse": lambda data: evaluate(safe_pickle.load(io.BytesIO(data), _resolve)),
    "npz": lambda data: _read_npz(io.BytesIO(data)),
    "npy": lambda data: _read_npy(io.BytesIO(data)),
    "masks": lambda data: read_masks(data, [0, 1]),
    "tar": lambda data: list(samples(io.BytesIO(data))),
    "tflite": parse_tflite,
}
# `read_contents` turns every exception of these into ValueError; what counts here is what they do until then.
OPEN_READERS = ("sparse", "npz", "npy")


def check(kind: str, data: bytes) -> None:
    """Reads, and fails on anything but a result or the reader's own error, or on a forbidden act."""
    global _watching
    _watching = []
    try:
        READERS[kind](data)
    except (ValueError, DamagedTar):
        pass
    except Exception:
        if kind not in OPEN_READERS:
            raise
    finally:
        seen, _watching = _watching, None
    assert not seen, f"{kind}: {seen}"


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few random changes of a file: bytes set, cut out, repeated, put in, numbers made extreme, the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        start, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 16, 64))
        kind = rng.randrange(7)
        if kind == 0 and start < len(changed):
            changed[start] = rng.randrange(256)
        elif kind == 1:
            del changed[start : start + length]
        elif kind == 2:
            changed[start:start] = changed[start : start + length] * rng.choice((1, 2, 50))
        elif kind == 3:
            changed[start:start] = rng.randbytes(length)
        elif kind == 4:
            changed[start : start + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"))
        elif kind == 5:
            del changed[start:]
        else:
            other = rng.randrange(len(changed) + 1)
            changed[start : start + length] = changed[other : other + length]
    return bytes(changed)


NAMES = (
    b"os\nsystem", b"posix\nsystem", b"builtins\neval", b"__builtin__\nexec", b"builtins\ngetattr", b"builtins\nobject",
    b"numpy\nndarray", b"numpy\ndtype", b"numpy.core.multiarray\n_reconstruct", b"numpy._core.multiarray\nscalar",
    b"numpy._core.numeric\n_frombuffer", b"copyreg\n_reconstructor", b"_codecs\nencode", b"builtins\nbytes",
    b"builtins\nset", b"builtins\nslice", b"builtins\ncomplex", b"builtins\nint", b"builtins\nstr", b"builtins\ntuple",
    b"builtins\nlist", b"collections\nOrderedDict", b"collections\ndefaultdict", b"chumpy.ch\nCh",
    b"scipy.sparse.csc\ncsc_matrix", b"chumpy.reordering\nSelect", b"numpy\nload", b"importlib\nimport_module",
)  # fmt: skip
ATOMS = (
    b"N", b"\x88", b"\x89", b"K\x05", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"G" + b"\x7f" * 8,
    b"U\x02<f", b"U\x02f4", b"U\x02O8", b"X\x06\0\0\0latin1", b"X\x01\0\0\0|", b"C\x04abcd", b")", b"]", b"}", b"(",
    b"U\x00", b"I99999999999\n", b"L-1L\n", b"S'x'\n",
)  # fmt: skip
VERBS = (
    b"R", b"b", b"\x81", b"o", b"t", b"l", b"d", b"e", b"a", b"s", b"u", b"\x85", b"\x86", b"\x87", b"0", b"2", b"\x94",
    b"h\x00", b"h\x01", b"q\x00", b"1", b"Q", b"P1\n", b"\x82\x01", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93",
)  # fmt: skip


def program(rng: random.Random) -> bytes:
    """A pickle written at random with the opcodes and names that attacks are made of."""
    parts = [b"\x80\x04"]
    for _ in range(rng.randrange(1, 40)):
        kind = rng.random()
        if kind < 0.2:
            parts.append(b"c" + rng.choice(NAMES) + b"\n")
        else:
            parts.append(rng.choice(ATOMS if kind < 0.6 else VERBS))
    return b"".join([*parts, b"."])


@st.composite
def files(draw, kinds: Iterable[str]) -> tuple[str, bytes]:
    """One of some kinds of files, and the contents of one."""
    rng = random.Random(draw(st.integers(0, 2**63)))
    whole = _SEEDS[kind := draw(st.sampled_from(sorted(kinds)))]
    if kind == "pickle" and rng.random() < 0.5:
        return kind, program(rng)
    return kind, mutate(rng.choice(whole), rng)


_SEEDS = seeds()
for _kind, _files in _SEEDS.items():  # what readers import when they are first used is imported now
    for _file in _files:
        READERS[_kind](_file)


def run(examples: int, seed: int | None = None, kinds: Iterable[str] = READERS) -> None:
    """Checks so many examples of some kinds; the first one that fails ends the run."""

    @settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,), derandomize=seed is None,
    )  # fmt: skip
    @given(files(kinds))
    def one(made: tuple[str, bytes]) -> None:
        try:
            check(*made)
        except BaseException:
            print(made, file=sys.stderr)
            raise

    if seed is not None:
        from hypothesis import seed as seeded

        one = seeded(seed)(one)
    one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kinds", default="", help="those to check, with commas between them; all, if not given")
    chosen = parser.parse_args()
    kinds = chosen.kinds.split(",") if chosen.kinds else list(READERS)
    if unknown := set(kinds) - READERS.keys():
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; choose some of {', '.join(READERS)}")
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    end, rounds = time.time() + 60 * chosen.minutes, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.time() < end:
        run(2000, seed=rounds, kinds=kinds)
        rounds += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{2000 * rounds} files, none broke a reader; memory grew by {(peak - before) / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
