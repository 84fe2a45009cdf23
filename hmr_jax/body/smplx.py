"""SMPL-X (Pavlakos et al. 2019) from a user's file: its surface, and the map from its vertices to SMPL's.

Some data sets label people with SMPL-X; the networks here predict SMPL. SMPL-X is only posed, so that SMPL parameters
can be fitted to its surface (`fitting`). Like SMPL, it may not be redistributed: SMPLX_NEUTRAL.npz comes from
smpl-x.is.tue.mpg.de.

Shapes: B bodies, V vertices, S betas. The 55 joints are 22 of the body, jaw, eyes and 2 x 15 of the hands.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from hmr_jax.body.model import BodyModel
from hmr_jax.body.model_arrays import as_array, checked_arrays, is_finite
from hmr_jax.body.skinning import BodyOutput, skin
from hmr_jax.body.smpl_files import NUM_SMPL_VERTICES, identify
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.io.research_files import read_contents

NUM_SMPLX_JOINTS = 55
NUM_HAND_JOINTS = 15
_MANY_VERTICES = 10**6  # more than any body has
MAX_BETAS = 20  # of a file's 300: no labels use more
SMPLX_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)  # fmt: skip

_HANDS = {f"hands_components{side}": (3 * NUM_HAND_JOINTS, 3 * NUM_HAND_JOINTS) for side in "lr"} | {
    f"hands_mean{side}": (3 * NUM_HAND_JOINTS,) for side in "lr"
}


@dataclass(frozen=True)
class SmplxModel:
    """SMPL-X as arrays."""

    body: BodyModel
    """Its shapedirs are those of the shape, then those of the expression."""
    num_betas: int
    """S."""
    hand_components: np.ndarray
    """(2, 45, 45) principal components of left and right hand poses, in rows."""
    hand_mean: np.ndarray
    """(2, 45) axis-angle of the relaxed hands."""

    def full_pose(
        self,
        body: np.ndarray,
        hands: np.ndarray | None = None,
        face: np.ndarray | None = None,
        flat_hand_mean: bool = True,
    ) -> np.ndarray:
        """Axis-angle of all joints from the parts that data sets store.

        Args:
            body: (B, 66) global orientation and 21 joints.
            hands: (B, 2, 45) axis-angle of left and right hand, (B, 2, n) coefficients of their first n components, or
                None: the pose that `flat_hand_mean` selects.
            face: (B, 9) axis-angle of jaw and eyes, or None: at rest.
            flat_hand_mean: hands are relative to flat hands; False: to the file's relaxed ones.

        Returns:
            (B, 55, 3), radians.
        """
        count = len(body)
        fingers = np.zeros((count, 2, 3 * NUM_HAND_JOINTS)) if hands is None else np.asarray(hands, np.float64)
        if fingers.shape[2] < 3 * NUM_HAND_JOINTS:
            fingers = np.einsum("bhn,hnc->bhc", fingers, self.hand_components[:, : fingers.shape[2]])
        if not flat_hand_mean:
            fingers = fingers + self.hand_mean
        face = np.zeros((count, 9)) if face is None else face
        return np.concatenate([body, face, fingers.reshape(count, -1)], 1).reshape(count, NUM_SMPLX_JOINTS, 3)


def read_smplx(path: str | Path) -> SmplxModel:
    """Reads SMPLX_*.npz or .pkl; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an SMPL-X model, or is incomplete or damaged; the message says what it is.
    """
    contents = read_contents(path)
    kind = identify(contents)
    if kind != "an SMPL-X body":
        found = "an SMPL body" if kind == "smpl" else kind or "of an unknown kind"
        raise ValueError(f"{path} is {found}, not an SMPL-X model: take SMPLX_NEUTRAL.npz from smpl-x.is.tue.mpg.de.")
    arrays = checked_arrays(contents, Path(path), "SMPL-X", SMPLX_PARENTS, _HANDS)
    for key in _HANDS:
        if (largest := float(np.abs(arrays[key]).max())) > 2 * np.pi:
            raise ValueError(f"{key} in {path} turns fingers by up to {largest:.4g}: it must be in radians.")
    total = arrays["shapedirs"].shape[-1]
    # Files have 300 betas and 100 expressions, older ones 10 and 10.
    expression = 300 if total >= 310 else 10
    num_betas = min(expression, total, MAX_BETAS)
    dirs = [arrays["shapedirs"][..., :num_betas], arrays["shapedirs"][..., expression : expression + 10]]
    single = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
    body = BodyModel(
        v_template=single["v_template"],
        shapedirs=np.concatenate(dirs, -1).astype(np.float32),
        posedirs=single["posedirs"],
        joint_regressor=single["J_regressor"],
        skinning_weights=single["weights"],
        parents=SMPLX_PARENTS,
        faces=arrays["f"].astype(np.int32),
        topology="smplx",
    )
    components = np.stack([arrays["hands_componentsl"], arrays["hands_componentsr"]])
    mean = np.stack([arrays["hands_meanl"], arrays["hands_meanr"]])
    return SmplxModel(body, num_betas, components, mean)


def smplx_surface(
    model: SmplxModel,
    betas: np.ndarray,
    pose: np.ndarray,
    translation: np.ndarray | None = None,
    expression: np.ndarray | None = None,
) -> BodyOutput:
    """Vertices (B, V, 3) and joints (B, 55, 3) of SMPL-X.

    Args:
        model: the body.
        betas: (B, n) with n <= S; more are an error, since dropping them would change the person.
        pose: (B, 55, 3) axis-angle, see `SmplxModel.full_pose`.
        translation: (B, 3) or None.
        expression: (B, up to 10) or None.

    Raises:
        ValueError: more betas than the model has.
    """
    if betas.shape[1] > model.num_betas:
        raise ValueError(f"The labels have {betas.shape[1]} betas, but this SMPL-X file has {model.num_betas}.")
    coefficients = np.zeros((len(betas), model.body.num_betas), np.float32)
    coefficients[:, : betas.shape[1]] = betas
    if expression is not None:
        coefficients[:, model.num_betas : model.num_betas + expression.shape[1]] = expression
    shift = np.zeros((len(betas), 3), np.float32) if translation is None else translation
    return _skin(model.body, coefficients, jnp.asarray(pose, jnp.float32), jnp.asarray(shift, jnp.float32))


@jax.jit
def _skin(body: BodyModel, coefficients: jax.Array, pose: jax.Array, translation: jax.Array) -> BodyOutput:
    return skin(body, coefficients, axis_angle_to_matrix(pose), translation)


def read_vertex_map(path: str | Path) -> scipy.sparse.csr_matrix:
    """Reads the (6890, 10475) map from SMPL-X to SMPL vertices: smplx2smpl.pkl, or the file `prepare` makes of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, or the weights of a vertex do not sum to 1.
    """
    contents = read_contents(path)
    if identify(contents) != "smplx2smpl":
        raise ValueError(
            f"{path} is not a map from SMPL-X to SMPL vertices: take smplx2smpl.pkl from SMPL-X's model transfer data."
        )
    if "matrix" in contents:
        dense = as_array(contents["matrix"], f"matrix in {path}")
        _check_numbers(dense, f"matrix in {path}")
        matrix = scipy.sparse.csr_matrix(dense)
    else:
        matrix = _sparse(contents, path)
    sums = np.asarray(matrix.sum(1)).ravel()
    if matrix.shape[0] != NUM_SMPL_VERTICES or np.abs(sums - 1).max() > 0.01:
        raise ValueError(f"{path} holds a damaged map: its {matrix.shape[0]} rows do not sum to 1.")
    return matrix.astype(np.float32)


def _sparse(contents: dict, path: str | Path) -> scipy.sparse.csr_matrix:
    """The map that `prepare` has written as rows, columns and values."""
    names = [f"smplx2smpl_{key}" for key in ("rows", "columns", "values", "shape")]
    if missing := [name for name in names if contents.get(name) is None]:
        raise ValueError(f"{path} is not a complete map: it lacks {', '.join(missing)}.")
    rows, columns, values, shape = (as_array(contents[name], f"{name} in {path}") for name in names)
    for name, array in zip(names, (rows, columns, values, shape), strict=True):
        _check_numbers(array, f"{name} in {path}")
        wanted = (2,) if name.endswith("shape") else values.shape
        if array.ndim != 1 or array.shape != wanted:
            raise ValueError(f"{name} in {path} has the shape {array.shape}: the file is damaged.")
    if shape[0] != NUM_SMPL_VERTICES or not 1 <= shape[1] < _MANY_VERTICES:
        raise ValueError(f"{path} holds a map of the shape {shape.tolist()}, not one to SMPL's {NUM_SMPL_VERTICES}.")
    for name, indices, side in (("rows", rows, shape[0]), ("columns", columns, shape[1])):
        if (indices != np.floor(indices)).any() or indices.min() < 0 or indices.max() >= side:
            raise ValueError(f"smplx2smpl_{name} in {path} are not places in a map of {side:g}: the file is damaged.")
    places = rows.astype(np.int64), columns.astype(np.int64)
    return scipy.sparse.csr_matrix((values.astype(np.float64), places), tuple(shape.astype(np.int64).tolist()))


def _check_numbers(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "fiu" or not array.size or not is_finite(array):
        raise ValueError(f"{name} is {array.dtype} {array.shape}; a map holds finite numbers: the file is damaged.")
