"""Predictions of other systems, and truth without images, from npz files; docs/evaluation.md describes both.

Shapes: N samples, B batch, V vertices.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import REQUIRED, Batch, BatchSource
from hmr_jax.body import BodyModel, joint_set_matrix, skin
from hmr_jax.body.genders import GENDERS, parse_gender
from hmr_jax.evaluation.scores import Predicted
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models.parameters import Params
from hmr_jax.protocols import Protocol

# name: shape of a row; "V" is the number of vertices of the body.
PREDICTED: dict[str, tuple[int | str, ...]] = {
    "rotations": (24, 3, 3), "pose": (24, 3), "betas": (10,), "vertices": ("V", 3), "joints": (24, 3),
    "keypoints_2d": (44, 2), "keypoints_3d": (44, 3), "sigma": (44,),
}  # fmt: skip
LABELLED: dict[str, tuple[int | str, ...]] = {
    "pose": (24, 3), "betas": (10,), "keypoints_3d": (44, 4), "keypoints_2d": (44, 3), "vertices": ("V", 3),
}  # fmt: skip
_PREFIX = "predicted/"

_skin = jax.jit(skin)


class ExternalPredictions:
    """Rows of a predictions file, found by their keys."""

    def __init__(self, path: Path, protocol: Protocol):
        """Reads and checks a file.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if it is damaged, lacks what the protocol needs, has arrays of another shape, or repeats a key.
        """
        self.path, self._protocol = path, protocol
        arrays = _read(path, PREDICTED, "predictions")
        self.topology = str(arrays.pop("topology", "smpl"))
        self.keys = arrays.pop("keys")
        self._row = _rows(self.keys, path)
        if "pose" in arrays and "rotations" not in arrays:
            arrays["rotations"] = np.asarray(axis_angle_to_matrix(jnp.asarray(arrays.pop("pose"))))
        arrays.pop("pose", None)
        if "rotations" in arrays and "betas" not in arrays:
            raise ValueError(f"{path} has rotations but no betas: add 'betas'.")
        if protocol.space == "2d":
            needed = {"keypoints_2d"}
        elif protocol.regressor == "kinematic" and not protocol.needs_vertices:
            needed = {"rotations", "joints"}
        else:
            needed = {"rotations", "vertices"}
        if not needed & arrays.keys():
            raise ValueError(f"{path} needs {' or '.join(sorted(needed))} for protocol {protocol.name}.")
        self.arrays = arrays

    def check_body(self, body: BodyModel) -> None:
        """Raises ValueError if the predictions are of another mesh."""
        vertices = self.arrays.get("vertices")
        if self.topology != body.topology or (vertices is not None and vertices.shape[1] != body.num_vertices):
            shape = "" if vertices is None else f" ({vertices.shape[1]} vertices)"
            raise ValueError(
                f"{self.path} says topology '{self.topology}'{shape}, but the body is '{body.topology}' "
                f"({body.num_vertices} vertices)."
            )

    def attach(self, source: BatchSource, keys: Any) -> BatchSource:
        """Batches of the source without images, with the predictions for their keys; NaN for keys without one.

        Args:
            source: the labels.
            keys: names of examples by their numbers.
        """

        def batches(step: int) -> Iterator[Batch]:
            for batch in source(step):
                valid = np.asarray(batch["valid"]) > 0
                numbers = np.asarray(batch["index"])[valid]
                found = np.full(len(valid), -1)
                found[valid] = [self._row.get(str(key), -1) for key in keys(numbers)]
                labels = {
                    name: value for name, value in batch.items() if name not in ("image", "mask", "depth", "parts")
                }
                for name, array in self.arrays.items():
                    rows = array[np.maximum(found, 0)].astype(np.float32, copy=False)
                    rows[found < 0] = np.nan
                    labels[_PREFIX + name] = rows
                yield labels

        return batches

    def unknown(self, keys: Sequence[str]) -> list[str]:
        """Keys of the file that are not among the samples."""
        return sorted(self._row.keys() - set(keys))


def predict_from_file(body: BodyModel) -> Callable[[Params, Batch], Predicted]:
    """(params, batch) -> `Predicted`, from the entries that `ExternalPredictions.attach` added to the batch.

    Do not jit it: a program would copy the file's arrays, which are returned unchanged.

    Args:
        body: of the predictions, on the devices.
    """

    @jax.jit
    def keypoints_of(joints: jax.Array, vertices: jax.Array) -> jax.Array:
        matrix, ids = joint_set_matrix(body, "keypoints_44")
        return jnp.einsum("kn,bnc->bkc", matrix, jnp.concatenate([joints, vertices[:, ids]], 1))

    def predict(params: Params, batch: Batch) -> Predicted:
        given = {name.removeprefix(_PREFIX): value for name, value in batch.items() if name.startswith(_PREFIX)}
        rotations, vertices, joints = given.get("rotations"), given.get("vertices"), given.get("joints")
        if rotations is not None and (vertices is None or joints is None):
            posed = _skin(body, given["betas"], rotations)
            vertices = posed.vertices if vertices is None else vertices
            joints = posed.joints if joints is None else joints
        keypoints = given.get("keypoints_3d")
        if keypoints is None and vertices is not None and joints is not None and "sigma" in given:
            keypoints = keypoints_of(joints, vertices)
        return Predicted(rotations, joints, vertices, keypoints, given.get("keypoints_2d"), given.get("sigma"))

    return predict


class TruthFile:
    """Labels without images, as a `BatchSource`."""

    def __init__(self, path: Path, batch_size: int, examples: int = 0):
        """Reads and checks a file.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if it is damaged, has arrays of another shape, an unknown gender, or repeats a key.
        """
        arrays = _read(path, LABELLED, "truth")
        self.topology = str(arrays.pop("topology", "smpl"))
        self._keys = arrays.pop("keys")
        _rows(self._keys, path)
        genders = arrays.pop("gender", np.full(len(self._keys), "n"))
        parsed = [parse_gender(str(gender)) for gender in genders]
        if None in parsed:
            unknown = genders[parsed.index(None)]
            raise ValueError(f"{path} has the gender '{unknown}': use n, m, f, neutral, male or female.")
        self._gender = np.array([GENDERS.index(gender) for gender in parsed if gender], np.int32)
        count = len(self._keys)
        one, zero = np.ones(count, np.float32), np.zeros(count, np.float32)
        self._arrays = {
            name: np.zeros((count, *map(int, shape)), dtype)
            for name, (shape, dtype) in REQUIRED.items() if name not in ("image", "valid", "index")
        }  # fmt: skip
        self._arrays |= {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        self._arrays |= {
            "has_pose": one if {"pose", "vertices"} & arrays.keys() else zero,
            "has_betas": one if {"betas", "vertices"} & arrays.keys() else zero,
        }
        if jax.process_count() > 1 and batch_size % jax.process_count():
            raise ValueError(f"batch_size {batch_size} cannot be shared by {jax.process_count()} hosts.")
        self._batch_size, self.examples = batch_size, min(examples or count, count)
        # Sorted by gender, so that few batches need the bodies of several.
        self._order = np.argsort(self._gender[: self.examples], kind="stable")

    def keys(self, numbers: np.ndarray) -> list[str]:
        """Keys of the examples with these numbers."""
        return [str(key) for key in self._keys[np.asarray(numbers)]]

    def __call__(self, step: int) -> Iterator[Batch]:
        """This host's slices of the batches from `step` on."""
        share = self._batch_size // jax.process_count()
        while step * self._batch_size < self.examples:
            positions = step * self._batch_size + jax.process_index() * share + np.arange(share)
            rows = self._order[np.minimum(positions, self.examples - 1)]
            yield {
                **{name: array[rows] for name, array in self._arrays.items()},
                "gender": self._gender[rows],
                "valid": (positions < self.examples).astype(np.float32),
                "index": rows.astype(np.int64),
            }
            step += 1


def _read(path: Path, shapes: dict[str, tuple[int | str, ...]], what: str) -> dict[str, np.ndarray]:
    """Arrays (N, ...) of a file, checked."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} file {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise ValueError(f"{path} is not a readable npz file without pickled objects: {error}") from error
    known = {*shapes, "keys", "topology", "gender"}
    if "keys" not in arrays:
        raise ValueError(f"{path} has no 'keys'; a {what} file holds keys and some of {', '.join(shapes)}.")
    if unknown := sorted(arrays.keys() - known):
        raise ValueError(f"{path} holds '{unknown[0]}'; a {what} file holds keys and some of {', '.join(shapes)}.")
    count = len(arrays["keys"])
    for name, shape in shapes.items():
        if name not in arrays:
            continue
        if name == "pose" and arrays[name].shape == (count, 72):
            arrays[name] = arrays[name].reshape(count, 24, 3)
        found = arrays[name].shape
        fits = len(found) == len(shape) + 1 and found[0] == count
        fits &= all(want in ("V", have) for want, have in zip(shape, found[1:], strict=False))
        if not fits or arrays[name].dtype.kind != "f":
            raise ValueError(f"'{name}' in {path} is {arrays[name].dtype}{found}; expected float ({count}, "
                             f"{', '.join(map(str, shape))}).")  # fmt: skip
    return arrays


def _rows(keys: np.ndarray, path: Path) -> dict[str, int]:
    """Key -> row."""
    rows = {str(key): row for row, key in enumerate(keys)}
    if len(rows) < len(keys):
        values, counts = np.unique(keys, return_counts=True)
        twice = ", ".join(map(str, values[counts > 1][:3]))
        raise ValueError(f"{path} has {len(keys) - len(rows)} keys more than once, such as {twice}.")
    return rows
