"""An SMPL-X file whose surface is the built-in body's: 55 joints, 60 vertices more, in another order, and the map back.

With hands at rest in the file's sense (flat) its posed skin is exactly that of the built-in body with the same first 22
joints, so the SMPL parameters behind SMPL-X labels are known.
"""

import pickle
from pathlib import Path

import numpy as np
import scipy.sparse

from formats.people import people
from hmr_jax.body import load_body_model
from hmr_jax.body.labelled import load_labelled_bodies
from hmr_jax.body.smplx import SMPLX_PARENTS

EXTRA = 60
FLAT = slice(66, 72)
"""Of a 72-vector pose: the hand joints, which SMPL-X does not have; zero in people that it can show."""


def write(folder: Path, wide: bool = False) -> tuple[Path, Path]:
    """Writes SMPLX_NEUTRAL.npz (and its male and female twins) and smplx2smpl.pkl; returns folder and map."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, matrix = model(wide)
    np.savez_compressed(folder / "SMPLX_NEUTRAL.npz", **arrays)
    for gender in ("MALE", "FEMALE"):
        (folder / f"SMPLX_{gender}.npz").hardlink_to(folder / "SMPLX_NEUTRAL.npz")
    path = folder / "smplx2smpl.pkl"
    path.write_bytes(pickle.dumps({"matrix": matrix}, 2))
    return folder, path


def model(wide: bool = False) -> tuple[dict[str, np.ndarray], scipy.sparse.csr_matrix]:
    """Arrays of the file and the map; wide: with 300 betas and 100 expressions, else with ten of each."""
    body, rng = load_body_model(), np.random.default_rng(0)
    count = body.num_vertices
    order = rng.permutation(count + EXTRA)  # position of each vertex in the file
    extra = rng.integers(0, count, EXTRA)  # copies that the map does not use

    def spread(values: np.ndarray) -> np.ndarray:
        ordered = np.empty((count + EXTRA, *values.shape[1:]), np.float32)
        ordered[order] = np.concatenate([values, values[extra]])
        return ordered

    weights = np.zeros((count, 55))
    weights[:, :22] = body.skinning_weights[:, :22]
    weights[:, [20, 21]] += body.skinning_weights[:, 22:]  # SMPL's hands move with SMPL-X's wrists
    posedirs = np.zeros((count, 3, 486))
    posedirs[..., : 21 * 9] = body.posedirs[..., : 21 * 9]
    regressor = np.zeros((55, count + EXTRA))
    regressor[:22, order[:count]] = body.joint_regressor[:22]
    regressor[22:25, order[:count]] = body.joint_regressor[15]
    for joint in range(25, 55):
        regressor[joint, order[:count]] = body.joint_regressor[22 if joint < 40 else 23]
    dirs, expression = np.zeros((count, 3, 400 if wide else 20)), 300 if wide else 10
    dirs[..., :10] = body.shapedirs
    dirs[..., expression : expression + 10] = rng.normal(0, 0.001, (count, 3, 10))
    matrix = scipy.sparse.csr_matrix(
        (np.ones(count), (np.arange(count), order[:count])), (count, count + EXTRA), np.float64
    )
    arrays = {
        "v_template": spread(body.v_template),
        "shapedirs": spread(dirs),
        "posedirs": spread(posedirs),
        "weights": spread(weights),
        "J_regressor": regressor.astype(np.float32),
        "kintree_table": np.stack([np.array(SMPLX_PARENTS), np.arange(55)]).astype(np.uint32),
        "f": order[body.faces].astype(np.uint32),
        "hands_componentsl": np.linalg.qr(rng.normal(0, 1, (45, 45)))[0],
        "hands_componentsr": np.linalg.qr(rng.normal(0, 1, (45, 45)))[0],
        "hands_meanl": rng.normal(0, 0.1, 45),
        "hands_meanr": rng.normal(0, 0.1, 45),
        "joint2num": np.array({f"joint{i}": i for i in range(55)}, object),  # the original has objects inside, too
    }
    return arrays, matrix


def showable(count: int = 4) -> dict[str, np.ndarray]:
    """`people.people` with the hand joints at rest, which is all that SMPL-X can show of them."""
    drawn = dict(people(count))
    drawn["pose"] = drawn["pose"].copy()
    drawn["pose"][:, FLAT] = 0
    keypoints = load_labelled_bodies("default").keypoints("n", drawn["pose"], drawn["betas"], drawn["translation"])
    points = keypoints @ drawn["intrinsics"].transpose(0, 2, 1)
    ones = np.ones((count, 44, 1))
    drawn["keypoints_3d"] = np.concatenate([keypoints, ones], 2)
    drawn["keypoints_2d"] = np.concatenate([points[..., :2] / points[..., 2:], ones], 2)
    return drawn


def joints(drawn: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 24, 3) SMPL's joints in camera axes; the first 22 are SMPL-X's."""
    import jax

    from hmr_jax.body import skin
    from hmr_jax.geometry import axis_angle_to_matrix

    pose = drawn["pose"].reshape(-1, 24, 3).astype(np.float32)
    shift = drawn["translation"].astype(np.float32)
    return np.asarray(jax.jit(skin)(load_body_model(), drawn["betas"], axis_angle_to_matrix(pose), shift).joints)
