"""SMPL body models from users' files: recognise what a file is, check it, make a `BodyModel`.

SMPL (Loper et al. 2015) may not be redistributed: users download SMPL_NEUTRAL.pkl and so on from smpl.is.tue.mpg.de.

Shapes: V vertices, K points of a regressor.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.body.default_body import load_default_body
from hmr_jax.body.joints import SMPL_LANDMARK_VERTICES, SMPL_PARENTS
from hmr_jax.body.model import Array, BodyModel
from hmr_jax.body.model_arrays import as_array, check_shares, checked_arrays, is_finite
from hmr_jax.body.regressors import is_person, misplaced_point
from hmr_jax.io.research_files import read_contents

NUM_SMPL_VERTICES, NUM_SMPL_FACES = 6890, 13776
NUM_SMPL_BETAS = 10  # taken of a file's 10 or 300
# Names of the same arrays in files that other projects saved.
_OTHER_KEYS = {"J_regressor": "joint_regressor", "weights": "lbs_weights", "f": "faces"}
# Extra regressors that may be beside a model file: name in `BodyModel.regressors` -> name of the .npy or .pkl, rows.
REGRESSOR_FILES = {"j19": ("SMPL_to_J19", 19), "extra": ("J_regressor_extra", 9), "h36m": ("J_regressor_h36m", 17)}
# Models of the same family, recognised by their number of joints.
_OTHER_MODELS = {
    5: "a FLAME head", 16: "a MANO hand", 35: "a SMAL animal", 52: "an SMPL-H body", 55: "an SMPL-X body",
    75: "a SUPR body",
}  # fmt: skip


def identify(contents: Any) -> str | None:
    """What a file holds.

    Returns:
        "smpl", "smpl_mean_params", "smplx2smpl", another model such as "a STAR body", "a regressor", whose kind
        `identify_regressor` tells, or None if unknown.
    """
    if isinstance(contents, np.ndarray):
        regressor = contents.ndim == 2 and contents.dtype.kind in "fiu" and 3 < contents.shape[0] < contents.shape[1]
        return "a regressor" if regressor else None
    if not isinstance(contents, dict):
        return None
    contents = _with_usual_keys(contents)
    if {"pose", "shape", "cam"} <= contents.keys():
        return "smpl_mean_params"

    def shape(key: str) -> tuple[int, ...]:
        return getattr(contents.get(key), "shape", ())

    # smplh2smpl has as many columns as rows.
    is_map = shape("matrix")[:1] == (NUM_SMPL_VERTICES,) != shape("matrix")[1:]
    if is_map or "smplx2smpl_values" in contents:
        return "smplx2smpl"
    if "skin_template_v" in contents or "skel_weights" in contents:
        return "a SKEL body"
    if "hands_components" in contents and shape("weights")[-1:] == (16,):
        return "a MANO hand"
    if "v_template" not in contents or "weights" not in contents:
        return None
    if shape("posedirs")[-1:] == (93,):
        return "a STAR body"
    return _OTHER_MODELS.get(shape("weights")[-1], "smpl") if shape("weights") else "smpl"


def read_smpl(path: str | Path) -> BodyModel:
    """Reads an SMPL model, official or converted, with the extra regressors inside it or beside it.

    Args:
        path: .pkl of Python 2 or 3, or .npz.

    Returns:
        The model in float32. Its topology is "smpl" for SMPL's 6,890 vertices and 13,776 faces; "smpl-<V>", without
        landmarks, for a mesh of another size in SMPL's form; "hmr-default" for an export of the built-in body.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an SMPL model, is incomplete or damaged, or would run code.
    """
    path = Path(path)
    contents = read_contents(path)
    kind = identify(contents)
    if kind is None:
        raise ValueError(f"{path} is not a body model: it lacks 'v_template' and 'weights'.")
    if kind == "a regressor":
        kind = f"a regressor of {len(contents)} points, such as J_regressor_h36m"
    if kind != "smpl":
        raise ValueError(f"{path} is {kind}, not an SMPL model: take SMPL_NEUTRAL.pkl from smpl.is.tue.mpg.de.")
    arrays = checked_arrays(_with_usual_keys(contents), path, "SMPL", SMPL_PARENTS)
    num_vertices, faces = len(arrays["v_template"]), arrays["f"].astype(np.int32)
    built_in = load_default_body()
    if np.array_equal(faces, built_in.faces):  # it has SMPL's size, but its export is not SMPL
        topology, landmarks, regressors = built_in.topology, built_in.landmarks, built_in.regressors
    else:
        is_smpl = (num_vertices, len(faces)) == (NUM_SMPL_VERTICES, NUM_SMPL_FACES)
        topology = "smpl" if is_smpl else f"smpl-{num_vertices}"
        landmarks = np.array(SMPL_LANDMARK_VERTICES, np.int32) if is_smpl else None
        regressors = {}
    single = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
    body = BodyModel(
        v_template=single["v_template"],
        shapedirs=np.ascontiguousarray(single["shapedirs"][..., :NUM_SMPL_BETAS]),
        posedirs=single["posedirs"],
        joint_regressor=single["J_regressor"],
        skinning_weights=single["weights"],
        parents=SMPL_PARENTS,
        faces=faces,
        topology=topology,
        landmarks=landmarks,
        regressors=regressors,
    )
    return body if regressors else replace(body, regressors=_read_regressors(contents, path, body))


def _read_regressors(contents: dict[str, Any], path: Path, body: BodyModel) -> dict[str, Array]:
    """Extra regressors (K, V) from the model file, where they are "regressor_<name>", or else from files beside it."""
    found: dict[str, Array] = {}
    for name in REGRESSOR_FILES:
        stored = contents.get(f"regressor_{name}")
        if stored is not None:
            found[name] = _checked_regressor(stored, name, path, body)
        elif (matrix := read_regressor(path.parent, name, body)) is not None:
            found[name] = matrix
    return found


def read_regressor(folder: Path, name: str, body: BodyModel) -> np.ndarray | None:
    """An extra regressor (K, V) float32 from its own file in a folder, .npy before .pkl; None if there is none.

    Args:
        folder: where to look.
        name: of the regressor, see `REGRESSOR_FILES`.
        body: the body that it is for.

    Raises:
        ValueError: the file is damaged, for another body, or another regressor.
    """
    files = (folder / f"{REGRESSOR_FILES[name][0]}{suffix}" for suffix in (".npy", ".pkl"))
    file = next((file for file in files if file.is_file()), None)
    return None if file is None else _checked_regressor(read_contents(file), name, file, body)


def check_regressor(matrix: np.ndarray, name: str) -> None:
    """Raises ValueError unless the rows (K, V) are shares of vertices."""
    if matrix.dtype.kind not in "fiu" or not is_finite(matrix):
        raise ValueError(f"{name} has values that are not finite numbers: it is damaged.")
    check_shares(matrix, name)


def _checked_regressor(matrix: Any, name: str, source: Path, body: BodyModel) -> np.ndarray:
    wanted = (REGRESSOR_FILES[name][1], body.num_vertices)
    matrix = as_array(matrix, f"The {name} regressor in {source}")
    if matrix.shape != wanted:
        raise ValueError(f"The {name} regressor in {source} has shape {matrix.shape}, not {wanted} as the body needs.")
    check_regressor(matrix, f"The {name} regressor in {source}")
    wrong = misplaced_point(matrix, name, body)
    if wrong:
        stem = REGRESSOR_FILES[name][0]
        raise ValueError(f"The {name} regressor in {source} is not {stem}, but another regressor: {wrong}.")
    return matrix.astype(np.float32)


def identify_regressor(matrix: np.ndarray, path: Path, bodies: Iterable[BodyModel]) -> str:
    """Which regressor of `REGRESSOR_FILES` a file holds: by where its points lie on a body, or else by its exact name.

    The number of its points tells nothing: J_regressor_coco has 17 like J_regressor_h36m, and others 19.

    Args:
        matrix: (K, V).
        path: of the file.
        bodies: those that it may be for; others are passed over.

    Returns:
        The published name without suffix, such as J_regressor_h36m.

    Raises:
        ValueError: neither tells, or they contradict each other.
    """

    def wrong(name: str, body: BodyModel) -> str | None:
        return misplaced_point(matrix, name, body)

    stems = {name: stem for name, (stem, rows) in REGRESSOR_FILES.items() if rows == len(matrix)}
    given = [body for body in bodies if body.num_vertices == matrix.shape[1] and is_person(body)]
    built_in = load_default_body()  # for its own regressors; SMPL's mean nothing on it
    for body in [*given, built_in] if matrix.shape[1] == built_in.num_vertices else given:
        for name, stem in stems.items():
            if wrong(name, body) is None:
                return stem
    for name, stem in stems.items():
        if path.stem == stem:
            if given:
                raise ValueError(f"The file {path} is not {stem}, but another regressor: {wrong(name, given[0])}.")
            return stem
    if not stems:
        known = ", ".join(stem for stem, _ in REGRESSOR_FILES.values())
        raise ValueError(f"{path} is a regressor of {len(matrix)} points, which is none of {known}.")
    stem = next(iter(stems.values()))
    raise ValueError(
        f"{path} is a regressor of {len(matrix)} points, and nothing tells which one: name the file {stem} if it is "
        "that, or give the SMPL model that it is for together with it."
    )


def _with_usual_keys(contents: dict[str, Any]) -> dict[str, Any]:
    """The contents with SMPL's own names for arrays that other projects name otherwise."""
    renamed = {key: contents[other] for key, other in _OTHER_KEYS.items() if contents.get(other) is not None}
    return contents | {key: value for key, value in renamed.items() if contents.get(key) is None}
