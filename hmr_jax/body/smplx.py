"""SMPL-X (Pavlakos et al. 2019) from a user's file: its surface, and the map from its vertices to SMPL's.

Data sets label people with SMPL-X; the models of this package speak SMPL. Here SMPL-X is only ever posed, on the way to
SMPL parameters (`fitting`). Like SMPL it may not be redistributed: SMPLX_NEUTRAL.npz comes from smpl-x.is.tue.mpg.de.

Shapes: B bodies, V vertices, S shape and E expression coefficients; 55 joints: 22 of the body, jaw, eyes, 2 x 15 of
the hands.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from hmr_jax.body.model import BodyModel
from hmr_jax.body.skinning import BodyOutput, skin
from hmr_jax.body.smpl_files import NUM_VERTICES, identify
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.io.research_files import read_contents

NUM_JOINTS, BODY_JOINTS, HAND_START = 55, 22, 25
HAND = 15  # joints of a hand
MAX_BETAS = 20  # of a file's 300: no labels use more
SMPLX_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)  # fmt: skip


@dataclass(frozen=True)
class SmplxModel:
    """SMPL-X as arrays."""

    body: BodyModel
    """Its shapedirs are those of the shape and then those of the expression."""
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
                None: nothing added to what `flat_hand_mean` says.
            face: (B, 9) jaw and eyes, or None: at rest.
            flat_hand_mean: hands are counted from flat ones; False: from the relaxed ones of the file.

        Returns:
            (B, 55, 3).
        """
        count = len(body)
        curled = np.zeros((count, 2, 3 * HAND)) if hands is None else np.asarray(hands, np.float64)
        if curled.shape[2] < 3 * HAND:
            curled = np.einsum("bhn,hnc->bhc", curled, self.hand_components[:, : curled.shape[2]])
        if not flat_hand_mean:
            curled = curled + self.hand_mean
        face = np.zeros((count, 9)) if face is None else face
        return np.concatenate([body, face, curled.reshape(count, -1)], 1).reshape(count, NUM_JOINTS, 3)


def read_smplx(path: str | Path) -> SmplxModel:
    """Reads SMPLX_*.npz or .pkl; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no SMPL-X model, incomplete or damaged; the message says what it is.
    """
    contents = read_contents(path)
    kind = identify(contents)
    if kind != "an SMPL-X body":
        found = "an SMPL body" if kind == "smpl" else kind or "of no known kind"
        raise ValueError(f"{path} is {found}, not an SMPL-X model: take SMPLX_NEUTRAL.npz from smpl-x.is.tue.mpg.de.")
    keys = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    hand_keys = ("hands_componentsl", "hands_componentsr", "hands_meanl", "hands_meanr")
    missing = [key for key in keys + hand_keys if not isinstance(contents.get(key), np.ndarray)]
    if missing:
        raise ValueError(f"{path} is not a complete SMPL-X model: it lacks {', '.join(missing)}.")
    count, total = len(contents["v_template"]), contents["shapedirs"].shape[-1]
    expected = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, total),
        "posedirs": (count, 3, 9 * (NUM_JOINTS - 1)),
        "J_regressor": (NUM_JOINTS, count),
        "weights": (count, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
        "hands_componentsl": (3 * HAND, 3 * HAND),
        "hands_componentsr": (3 * HAND, 3 * HAND),
        "hands_meanl": (3 * HAND,),
        "hands_meanr": (3 * HAND,),
    }
    for key, shape in expected.items():
        array = contents[key]
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise ValueError(f"{key} in {path} is {array.dtype} {array.shape}; SMPL-X's is a number array {shape}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{key} in {path} has values that are not finite: the file is damaged.")
    if (-1, *contents["kintree_table"][0, 1:].astype(int).tolist()) != SMPLX_PARENTS:
        raise ValueError(f"The joint tree in {path} is not SMPL-X's.")
    # Files have 300 betas and 100 expressions, older ones 10 and 10.
    expression = 300 if total >= 310 else 10
    num_betas = min(expression, total, MAX_BETAS)
    dirs = [contents["shapedirs"][..., :num_betas], contents["shapedirs"][..., expression : expression + 10]]
    single = {key: np.ascontiguousarray(contents[key], np.float32) for key in keys[:5]}
    body = BodyModel(
        v_template=single["v_template"],
        shapedirs=np.concatenate(dirs, -1).astype(np.float32),
        posedirs=single["posedirs"],
        joint_regressor=single["J_regressor"],
        skinning_weights=single["weights"],
        parents=SMPLX_PARENTS,
        faces=np.asarray(contents["f"]).astype(np.int32),
        topology="smplx",
    )
    components = np.stack([contents["hands_componentsl"], contents["hands_componentsr"]])
    mean = np.stack([contents["hands_meanl"], contents["hands_meanr"]])
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
        betas: (B, n), n up to the model's; more are an error, as dropping them would change the person.
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
    """(6890, 10475) SMPL vertices as weighted means of SMPL-X vertices: smplx2smpl.pkl, or what `prepare` makes of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, or its weights do not sum to 1.
    """
    contents = read_contents(path)
    if identify(contents) != "smplx2smpl":
        raise ValueError(
            f"{path} is no map from SMPL-X's to SMPL's vertices: take smplx2smpl.pkl from SMPL-X's model transfer data."
        )
    if "matrix" in contents:
        matrix = scipy.sparse.csr_matrix(contents["matrix"])
    else:
        rows, columns, values, shape = (contents[f"smplx2smpl_{key}"] for key in ("rows", "columns", "values", "shape"))
        matrix = scipy.sparse.csr_matrix((values, (rows, columns)), tuple(int(side) for side in shape))
    sums = np.asarray(matrix.sum(1)).ravel()
    if matrix.shape[0] != NUM_VERTICES or np.abs(sums - 1).max() > 0.01:
        raise ValueError(f"{path} holds a damaged map: its {matrix.shape[0]} rows do not sum to 1.")
    return matrix.astype(np.float32)
