"""Fuzzes the conversion of published weights: files of PyTorch, safetensors and TensorFlow Lite.

    python tests/fuzz_weights.py --minutes 10

Small checkpoints are changed at random (names, shapes, types, numbers), and written as PyTorch and others write them:
tensors that share a storage or are transposed, prefixes of wrappers, other things beside them, parts in a folder. The
answer is an error of one sentence that names the file, or the parameters of the plain tensors, all of which are used
or reported as dropped. tests/test_fuzz_weights.py runs a bounded number of the same examples, and the files that once
broke a conversion.
"""

import contextlib
import functools
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import flax
import jax
import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from by_rule import made_by_rule
from fuzz import mutate
from fuzz_changes import change_array
from fuzz_loop import answer, run_for_minutes
from fuzz_weight_files import write
from tflite_skeleton import fill

from hmr_jax.weights import convert
from hmr_jax.weights.detect import Options, convert_state

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_weights_")  # until the process ends
FOLDER, DATA = Path(_KEPT.name), Path(__file__).parent / "data"
OPTIONS = Options(heads=4, head_dim=16, max_depth=0)
HALF = (np.float16, ml_dtypes.bfloat16, np.float64, np.float32, np.float32)
_shapes = convert._model_shapes
_known: dict[str, Any] = {}


def _model_shapes(config: Any) -> Any:
    """Tracing a network takes longest: those that come again and again are traced once."""
    if repr(config) not in _known:
        _known[repr(config)] = _shapes(config)
    return _known[repr(config)]


convert._model_shapes = _model_shapes


@functools.cache
def states() -> dict[str, dict[str, np.ndarray]]:
    """Whole small networks by PyTorch's names."""

    def weights(name: str) -> dict[str, np.ndarray]:
        with np.load(DATA / f"{name}.npz") as file:
            return {key.removeprefix("weights/"): file[key] for key in file.files if key.startswith("weights/")}

    backbone = {f"backbone.{name}": array for name, array in weights("vitpose_backbone").items()}
    hmr2 = backbone | {f"smpl_head.{name}": array for name, array in weights("hmr2_head").items()}
    hmr2 |= {"smpl.betas": np.zeros((1, 10), np.float32), "initialized": np.array(True)}
    vitpose = backbone | {"keypoint_head.final_layer.weight": np.zeros((17, 9, 1, 1), np.float32)}
    with np.load(DATA / "depth_anything.npz") as file:
        depth = made_by_rule(file["names"], file["shapes"])
    return {"hmr2": hmr2, "vitpose": vitpose, "depth": depth}


def changed(state: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Tensors missing, renamed, doubled, of another shape or type, or with other numbers."""
    state = dict(state)
    for _ in range(rng.choice((1, 1, 2))):
        name, kind = rng.choice(sorted(state)), rng.random()
        if kind < 0.15:
            del state[name]
        elif kind < 0.3:
            state[name.replace(*rng.choice(((".", "_"), ("0", "1"), ("weight", "gamma"), ("backbone.", ""))))] = (
                state.pop(name)
            )
        elif kind < 0.4:
            state[rng.choice((f"{name}.x", "extra.weight", f"ema.{name}", "optimizer"))] = np.zeros(3, np.float32)
        elif kind < 0.5:
            start = name[: name.rfind(".", 0, rng.randrange(len(name)) + 1) + 1]
            state = {key: array for key, array in state.items() if not start or not key.startswith(start)}
        elif kind < 0.6:
            array = np.asarray(state[name])
            state[name] = array + np.asarray(rng.choice((1e-3, 1e30, np.nan)), array.dtype)
        elif isinstance(state[name], np.ndarray):
            state[name] = change_array(state[name], rng)
        if not state:
            break
    return state


# ---------------------------------------------------------------------------------------------------------- the checks


def flat(params: Any) -> dict[str, np.ndarray]:
    return flax.traverse_util.flatten_dict(params, sep="/")


def check_torch(rng: random.Random, network: str) -> bool:
    """Converts a checkpoint; whether it could be written."""
    state = {
        name: array.astype(rng.choice(HALF)) if array.dtype.kind == "f" else array
        for name, array in states()[network].items()
    }
    if rng.random() < 0.6:
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # a number that no such tensor can hold
            state = changed(state, rng)
    path = FOLDER / "weights"
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    try:
        noticed, prefix = write(path, state, rng)
    except (TypeError, KeyError, AttributeError, ValueError):
        return False
    damaged = path.is_file() and rng.random() < 0.1
    if damaged:
        path.write_bytes(mutate(path.read_bytes(), rng))
    options = Options(**(vars(OPTIONS) | {"prefix": prefix}))
    _, found = convert.read_converted(path, options)
    params = flat(found.params)
    assert all(np.isfinite(array).all() for array in params.values())
    if damaged and not noticed:
        return True
    plain = {name: np.asarray(array) for name, array in state.items()}
    wanted = flat(convert_state(plain, OPTIONS).params)
    assert params.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(params[name], array, err_msg=name)
    # Nothing is lost: what is not among the parameters is named as dropped.
    endings = tuple(found.dropped)
    used = {name: array for name, array in plain.items() if not any(end.endswith(name) for end in endings)}
    merged = sum(array.size for name, array in used.items() if name.endswith("transformer.pos_embedding"))
    constant = sum(array.size for name, array in used.items() if name.endswith("to_token_embedding.weight"))
    assert sum(array.size for array in params.values()) == sum(map(np.size, used.values())) - merged - constant
    return True


@functools.cache
def _resnet() -> dict[str, np.ndarray]:
    with np.load(DATA / "resnet50.npz") as file:
        return made_by_rule(file["names"], file["shapes"])


def check_resnet(rng: random.Random) -> bool:
    """Converts the tensors of a network with batch normalisation; its files would be too large to be many."""
    state = _resnet()
    if rng.random() < 0.8:
        state = {name: np.asarray(array) for name, array in changed(state, rng).items()}
    if any(array.dtype.kind in "OSU" for array in state.values()):  # not in PyTorch's files
        return False
    found = convert_state(state, OPTIONS)
    convert.check_shapes(found)
    used = {name: array for name, array in state.items() if name not in found.dropped}
    params = flat(found.params)
    total = sum(float(np.sum(array, dtype=np.float64)) for array in params.values())
    np.testing.assert_allclose(total, sum(float(np.sum(array, dtype=np.float64)) for array in used.values()), rtol=1e-6)
    assert sum(array.size for array in params.values()) == sum(map(np.size, used.values()))
    assert all((array >= 0).all() for name, array in params.items() if name.endswith("/var"))
    return True


@functools.cache
def _skeleton(variant: str) -> tuple[dict[str, np.ndarray], bytes]:
    file = "blazepose_detector" if variant == "detector" else "blazepose"
    with np.load(DATA / f"{file}.npz") as stored:
        parts = {name.split("/")[-1]: stored[name] for name in stored.files if "/" not in name or variant in name}
    return parts, fill(parts)


def check_tflite(rng: random.Random) -> bool:
    """Converts BlazePose's file with other weights, or another structure."""
    variant = rng.choice(("lite", "lite", "detector"))
    parts, whole = _skeleton(variant)
    data = bytearray(whole)
    if rng.random() < 0.7:
        for _ in range(rng.choice((1, 2, 4))):
            _, start, size = parts["places"][rng.randrange(len(parts["places"]))].tolist()
            value = rng.choice((0.5, -3.0, 0.0, 6e4, np.nan, np.inf))
            at = start + 2 * rng.randrange(size // 2)
            data[at : at + 2] = np.float16(value).tobytes()
    if rng.random() < 0.6:
        inside = np.zeros(len(data), bool)
        for start, size in parts["places"][:, 1:].tolist():
            inside[start : start + size] = True
        free = np.flatnonzero(~inside)
        for _ in range(rng.choice((1, 1, 3, 10))):
            data[int(free[rng.randrange(len(free))])] = rng.choice((0, 1, 3, 127, 255, rng.randrange(256)))
    if rng.random() < 0.05:
        data = data[: rng.randrange(len(data))]
    path = FOLDER / "weights"
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.write_bytes(data)
    _, found = convert.read_converted(path, OPTIONS)
    given = np.concatenate(
        [np.frombuffer(data, "<f2", size // 2, start) for _, start, size in parts["places"].tolist()]
    ).astype(np.float32)
    params = np.concatenate([np.ravel(array) for array in jax.tree.leaves(found.params)])
    # Of the detector, sparse kernels are filled up with zeros, and some tensors are used twice.
    order = np.sort if variant == "lite" else np.unique
    np.testing.assert_array_equal(order(params[params != 0]), order(given[given != 0]))
    assert len(params) == (len(given) if variant == "lite" else 2_965_314)
    return True


CHECKS = {
    "hmr2": functools.partial(check_torch, network="hmr2"),
    "vitpose": functools.partial(check_torch, network="vitpose"),
    "depth": functools.partial(check_torch, network="depth"),
    "resnet": check_resnet,
    "blazepose": check_tflite,
}


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there was a result rather than an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result, message = answer(kind, seed, lambda: CHECKS[kind](random.Random(seed)), (ValueError, KeyError))
    if not message:
        return result
    assert kind == "resnet" or str(FOLDER / "weights") in message, (kind, seed, message)
    return False


def main() -> None:
    run_for_minutes(__doc__, CHECKS, one)


if __name__ == "__main__":
    main()
