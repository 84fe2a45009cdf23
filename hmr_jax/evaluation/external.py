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
from hmr_jax.body.smpl_files import NUM_SMPL_VERTICES
from hmr_jax.evaluation import plausibility
from hmr_jax.evaluation.scores import Predicted
from hmr_jax.evaluation.scoring_files import read_arrays, read_genders, read_texts, read_word, rows_by_key
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
WHOLE = 8  # labelled points of which a person must have so many to be measured

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
        arrays = read_arrays(path, PREDICTED, "predictions")
        self.topology = read_word(arrays.pop("topology", np.array("smpl")), "topology", path)
        self.keys = read_texts(arrays.pop("keys"), "keys", path)
        self._row = rows_by_key(self.keys, path)
        if "gender" in arrays:
            raise ValueError(
                f"{path} has a gender, but predictions are of the neutral body: give 'vertices' of another body, or "
                "leave 'gender' out."
            )
        if "pose" in arrays and "rotations" in arrays:
            raise ValueError(f"{path} has both 'pose' and 'rotations': leave one of them out.")
        self._check_values(arrays)
        if "pose" in arrays:
            arrays["rotations"] = np.asarray(axis_angle_to_matrix(jnp.asarray(arrays.pop("pose"), jnp.float32)))
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

    def _check_values(self, arrays: dict[str, np.ndarray]) -> None:
        """Raises ValueError if rotations are none, or lengths not in their unit; NaN marks a failed prediction."""

        def name(what: str) -> str:
            return f"The predictions '{what}' in {self.path}"

        if "rotations" in arrays:
            plausibility.check_rotations(arrays["rotations"], self.keys, name("rotations"))
        if "pose" in arrays:
            plausibility.check_axis_angle(arrays["pose"], self.keys, name("pose"))
        for what in ("vertices", "joints", "keypoints_3d"):
            # A mesh of another size is refused by `check_body`.
            if what in arrays and (what != "vertices" or arrays[what].shape[1] == NUM_SMPL_VERTICES):
                plausibility.check_extents(plausibility.extents(arrays[what]), self.keys, name(what))
        if "sigma" in arrays and np.nanmedian(np.append(arrays["sigma"], 0)) > plausibility.EXTENT[1]:
            raise ValueError(f"{name('sigma')} are not in metres: most are above {plausibility.EXTENT[1]}.")
        if "keypoints_2d" in arrays:
            plausibility.check_crop_points(arrays["keypoints_2d"], None, name("keypoints_2d"))

    def check_keys(self, samples: Sequence[str], source: str) -> None:
        """Raises ValueError if there is no prediction for any of the samples, whose keys are those of `source`."""
        if samples and not self._row.keys() & set(samples):
            raise ValueError(
                f"None of the {len(self.keys):,} keys of {self.path} is a key of {source}: '{self.keys[0]}', for "
                f"example, against '{samples[0]}'."
            )

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
        self.path = path
        arrays = read_arrays(path, LABELLED, "truth")
        self.topology = read_word(arrays.pop("topology", np.array("smpl")), "topology", path)
        self._keys = read_texts(arrays.pop("keys"), "keys", path)
        rows_by_key(self._keys, path)
        count = len(self._keys)
        self._gender = read_genders(arrays.pop("gender", np.array("n")), count, path)
        arrays |= self._checked(arrays, path)
        self._arrays = {
            name: np.zeros((count, *map(int, shape)), dtype)
            for name, (shape, dtype) in REQUIRED.items() if name not in ("image", "valid", "index")
        }  # fmt: skip
        known = {name: ~np.isnan(array.reshape(count, -1)).all(1) for name, array in arrays.items()}
        self._arrays |= {
            name: np.where(known[name].reshape(count, *[1] * (array.ndim - 1)), array, 0).astype(np.float32)
            for name, array in arrays.items()
        }
        for has, names in (("has_pose", ("pose", "vertices")), ("has_betas", ("betas", "vertices"))):
            self._arrays[has] = np.any([known.get(name, np.zeros(count, bool)) for name in names], 0).astype(np.float32)
        if jax.process_count() > 1 and batch_size % jax.process_count():
            raise ValueError(f"batch_size {batch_size} cannot be shared by {jax.process_count()} hosts.")
        self._batch_size, self.examples = batch_size, min(examples or count, count)
        # Sorted by gender, so that few batches need the bodies of several.
        self._order = np.argsort(self._gender[: self.examples], kind="stable")

    def check_body(self, body: BodyModel) -> None:
        """Raises ValueError if the labels are of another body than the predictions, whose body is given."""
        if self.topology != body.topology:
            raise ValueError(
                f"{self.path} has poses of a '{self.topology}' body, but the predictions are '{body.topology}'."
            )
        vertices = self._arrays.get("vertices")
        if vertices is not None and vertices.shape[1] != body.num_vertices:
            raise ValueError(
                f"'vertices' in {self.path} are {vertices.shape[1]} for each person, but the predictions' body "
                f"'{body.topology}' has {body.num_vertices}."
            )

    def _checked(self, arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
        """The labels, with zeros where there are none.

        Raises:
            ValueError: a label is not finite, no rotation, or not in its unit.
        """

        def name(what: str) -> str:
            return f"The labels '{what}' in {path}"

        for what in ("pose", "betas", "vertices"):
            if what in arrays:
                plausibility.check_rows(arrays[what], self._keys, name(what))
        if "pose" in arrays:
            plausibility.check_axis_angle(arrays["pose"], self._keys, name("pose"))
        if "vertices" in arrays:
            plausibility.check_extents(plausibility.extents(arrays["vertices"]), self._keys, name("vertices"))
        labelled: dict[str, np.ndarray] = {
            what: plausibility.check_labelled(arrays[what], self._keys, name(what))
            for what in ("keypoints_3d", "keypoints_2d")
            if what in arrays
        }
        if "keypoints_3d" in labelled:
            known = labelled["keypoints_3d"][..., 3] > 0
            sizes = plausibility.extents(labelled["keypoints_3d"][..., :3], known)
            whole = np.where(known.sum(1) >= WHOLE, sizes, np.nan)  # a few points may be close together
            plausibility.check_extents(whole, self._keys, name("keypoints_3d"))
        if "keypoints_2d" in labelled:
            points = labelled["keypoints_2d"]
            plausibility.check_crop_points(points[..., :2], points[..., 2] > 0, name("keypoints_2d"))
        return labelled

    @property
    def all_keys(self) -> list[str]:
        """Keys of all examples."""
        return self._keys[: self.examples].tolist()

    def keys(self, numbers: np.ndarray) -> list[str]:
        """Keys of the examples with these numbers."""
        return self._keys[np.asarray(numbers)].tolist()

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
