"""SMPL body models from users' files: recognise what a file is, check it, make a `BodyModel`.

SMPL (Loper et al. 2015) may not be redistributed: users download SMPL_NEUTRAL.pkl and so on from smpl.is.tue.mpg.de.

Shapes: V vertices, K points of a regressor.
"""

from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.body.default_body import load_default_body
from hmr_jax.body.joints import SMPL_LANDMARK_VERTICES, SMPL_PARENTS
from hmr_jax.body.model import Array, BodyModel
from hmr_jax.io.research_files import read_contents

NUM_SMPL_JOINTS, NUM_SMPL_VERTICES, NUM_SMPL_FACES = 24, 6890, 13776
NUM_SMPL_BETAS = 10  # taken of a file's 10 or 300
MODEL_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
# Extra regressors that may be beside a model file: name in `BodyModel.regressors` -> name of the .npy or .pkl, rows.
REGRESSOR_FILES = {"j19": ("SMPL_to_J19", 19), "extra": ("J_regressor_extra", 9), "h36m": ("J_regressor_h36m", 17)}
# Models of the same family, recognised by their number of joints.
_OTHER_MODELS = {
    5: "a FLAME head", 16: "a MANO hand", 35: "a SMAL animal", 52: "an SMPL-H body", 55: "an SMPL-X body",
    75: "a SUPR body",
}  # fmt: skip


def identify(contents: Any) -> str | None:
    """What a file holds: "smpl", a key of `prepare.WANTED`, another model such as "a STAR body", or None if unknown."""
    if isinstance(contents, np.ndarray):
        rows = {count: file for file, count in REGRESSOR_FILES.values()}
        return rows.get(contents.shape[0]) if contents.ndim == 2 and contents.shape[1] > contents.shape[0] else None
    if not isinstance(contents, dict):
        return None
    if {"pose", "shape", "cam"} <= contents.keys():
        return "smpl_mean_params"

    def shape(key: str) -> tuple[int, ...]:
        return getattr(contents.get(key), "shape", ())

    if shape("matrix")[:1] == (NUM_SMPL_VERTICES,) or "smplx2smpl_values" in contents:
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
    if kind != "smpl":
        raise ValueError(f"{path} is {kind}, not an SMPL model: take SMPL_NEUTRAL.pkl from smpl.is.tue.mpg.de.")
    arrays = _checked(contents, path)
    num_vertices, faces = len(arrays["v_template"]), arrays["f"].astype(np.int32)
    built_in = load_default_body()
    if np.array_equal(faces, built_in.faces):  # it has SMPL's size, but its export is not SMPL
        topology, landmarks, regressors = built_in.topology, built_in.landmarks, built_in.regressors
    else:
        is_smpl = (num_vertices, len(faces)) == (NUM_SMPL_VERTICES, NUM_SMPL_FACES)
        topology = "smpl" if is_smpl else f"smpl-{num_vertices}"
        landmarks = np.array(SMPL_LANDMARK_VERTICES, np.int32) if is_smpl else None
        regressors = read_regressors(contents, path, num_vertices)
    single = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
    return BodyModel(
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


def read_regressors(contents: dict[str, Any], path: Path, num_vertices: int) -> dict[str, Array]:
    """Extra regressors (K, V) from the model file, where they are "regressor_<name>", or else from files beside it."""
    found: dict[str, Array] = {}
    for name in REGRESSOR_FILES:
        stored = contents.get(f"regressor_{name}")
        if stored is not None:
            found[name] = _checked_regressor(stored, name, path, num_vertices)
        elif (matrix := read_regressor(path.parent, name, num_vertices)) is not None:
            found[name] = matrix
    return found


def read_regressor(folder: Path, name: str, num_vertices: int) -> np.ndarray | None:
    """An extra regressor (K, V) float32 from its own file in a folder, .npy before .pkl; None if there is none.

    Args:
        folder: where to look.
        name: of the regressor, see `REGRESSOR_FILES`.
        num_vertices: V of the body that it is for.

    Raises:
        ValueError: the file is damaged or for another body.
    """
    files = (folder / f"{REGRESSOR_FILES[name][0]}{suffix}" for suffix in (".npy", ".pkl"))
    file = next((file for file in files if file.is_file()), None)
    return None if file is None else _checked_regressor(read_contents(file), name, file, num_vertices)


def _checked_regressor(matrix: Any, name: str, source: Path, num_vertices: int) -> np.ndarray:
    wanted = (REGRESSOR_FILES[name][1], num_vertices)
    if np.shape(matrix) != wanted:
        raise ValueError(
            f"The {name} regressor in {source} has shape {np.shape(matrix)}, not {wanted} as the body needs."
        )
    return np.asarray(matrix, np.float32)


def _checked(contents: dict[str, Any], path: Path) -> dict[str, np.ndarray]:
    """The arrays of `MODEL_KEYS`, checked to be those of a model in SMPL's form."""
    missing = [key for key in MODEL_KEYS if contents.get(key) is None]
    if missing:
        raise ValueError(f"{path} is not a complete SMPL model: it lacks {', '.join(missing)}.")
    arrays = {key: np.asarray(contents[key]) for key in MODEL_KEYS}
    num_vertices = arrays["v_template"].size // 3
    expected = {
        "v_template": (num_vertices, 3),
        "shapedirs": (num_vertices, 3, arrays["shapedirs"].size // max(arrays["v_template"].size, 1)),
        "posedirs": (num_vertices, 3, 9 * (NUM_SMPL_JOINTS - 1)),
        "J_regressor": (NUM_SMPL_JOINTS, num_vertices),
        "weights": (num_vertices, NUM_SMPL_JOINTS),
        "kintree_table": (2, NUM_SMPL_JOINTS),
        "f": (arrays["f"].size // 3, 3),
    }
    for key, shape in expected.items():
        array = arrays[key]
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise ValueError(f"{key} in {path} is {array.dtype} {array.shape}; SMPL needs numbers of shape {shape}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{key} in {path} has values that are not finite: the file is damaged.")
    parents = (-1, *arrays["kintree_table"][0, 1:].astype(int).tolist())  # the file's root is 2^32 - 1
    if parents != SMPL_PARENTS:
        raise ValueError(f"The joint tree in {path} is not SMPL's: the parents are {parents}.")
    if arrays["f"].min() < 0 or arrays["f"].max() >= num_vertices:
        raise ValueError(f"Faces in {path} refer to vertices that do not exist: the file is damaged.")
    return arrays
