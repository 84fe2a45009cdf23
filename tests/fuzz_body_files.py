"""The files that fuzz_bodies.py changes: small bodies in the form of SMPL and SMPL-X, and how a file may hold them.

Shapes: V vertices, J joints.
"""

import contextlib
import io
import pickle
import random
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from hmr_jax.body import load_body_model
from hmr_jax.body.joints import J19, SMPL_PARENTS
from hmr_jax.body.regressors import EXTRA_9
from hmr_jax.body.smplx import SMPLX_PARENTS

OTHER_NAMES = {"J_regressor": "joint_regressor", "weights": "lbs_weights", "f": "faces"}
LAYOUTS = ("csc", "csr", "coo", "lil", "dok", "bsr", "dia")


def _body(joints: np.ndarray, parents: tuple[int, ...], around: int, num_betas: int) -> dict[str, np.ndarray]:
    """A body with a few vertices around each joint (J, 3), which they define and mostly follow."""
    rng, count = np.random.default_rng(0), len(joints)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])[:around] * 0.03
    corners = corners - corners.mean(0)
    own = np.repeat(np.eye(count), around, 1)  # (J, V)
    weights = 0.75 * own.T
    for joint, parent in enumerate(parents):
        weights[joint * around : (joint + 1) * around, max(parent, 0)] += 0.25
    return {
        "v_template": (joints[:, None] + corners).reshape(-1, 3),
        "shapedirs": rng.normal(0, 0.01, (count * around, 3, num_betas)),
        "posedirs": rng.normal(0, 0.002, (count * around, 3, 9 * (count - 1))),
        "J_regressor": own / around,
        "weights": weights,
        "kintree_table": np.stack([np.array(parents) % 2**32, np.arange(count)]),
        "f": rng.integers(0, count * around, (50, 3)),
    }


def smpl() -> dict[str, np.ndarray]:
    """A body of 192 vertices whose joints stand as those of a person."""
    built_in = load_body_model()
    joints = np.asarray(built_in.joint_regressor @ built_in.v_template, np.float64)
    return _body(joints, SMPL_PARENTS, 8, 10)


def smplx() -> dict[str, np.ndarray]:
    """A body of 220 vertices with SMPL-X's joints."""
    built_in = load_body_model()
    joints = np.asarray(built_in.joint_regressor @ built_in.v_template, np.float64)
    places = [joints[min(index, 21)] for index in range(22)]
    for index in range(22, 55):
        places.append(places[SMPLX_PARENTS[index]] + [0.02, 0.01, 0.03])
    rng = np.random.default_rng(1)
    hands = {f"hands_components{side}": np.linalg.qr(rng.normal(size=(45, 45)))[0] for side in "lr"}
    means = {f"hands_mean{side}": rng.normal(0, 0.1, 45) for side in "lr"}
    return _body(np.array(places), SMPLX_PARENTS, 4, 20) | hands | means


def regressors() -> dict[str, np.ndarray]:
    """Extra regressors of `smpl`: each point is the joint that is nearest to it on the built-in body."""
    built_in = load_body_model()
    joints = built_in.joint_regressor @ built_in.v_template
    rows = smpl()["J_regressor"]
    found = {}
    for name, matrix in built_in.regressors.items():
        points = np.asarray(matrix) @ built_in.v_template
        found[name] = rows[[np.linalg.norm(joints - point, axis=1).argmin() for point in points]]
    return found | {"extra": found["j19"][[J19.index(name) for name in EXTRA_9]]}


def vertex_map() -> dict[str, np.ndarray]:
    """A map from SMPL-X to SMPL as `prepare` writes it: each vertex is between two."""
    rng = np.random.default_rng(2)
    share = rng.random(6890)
    return {
        "smplx2smpl_rows": np.repeat(np.arange(6890), 2),
        "smplx2smpl_columns": rng.integers(0, 10475, 2 * 6890),
        "smplx2smpl_values": np.stack([share, 1 - share], 1).ravel(),
        "smplx2smpl_shape": np.array([6890, 10475]),
    }


@contextlib.contextmanager
def _chumpy() -> Iterator[types.SimpleNamespace]:
    """Classes that are pickled under the names of chumpy's."""
    made, before = {}, dict(sys.modules)
    modules = {"chumpy": (), "chumpy.ch": ("Ch",), "chumpy.reordering": ("Select", "transpose", "reshape")}
    for module, names in modules.items():
        sys.modules[module] = types.ModuleType(module)
        for name in names:
            made[name] = type(name, (), {"__module__": module})
            setattr(sys.modules[module], name, made[name])
    try:
        yield types.SimpleNamespace(**made)
    finally:
        for module in modules:
            del sys.modules[module]
            if module in before:
                sys.modules[module] = before[module]


def _made(kind: type, **state: Any) -> Any:
    new = kind()
    vars(new).update(state)
    return new


def stored(array: Any, rng: random.Random, chumpy: Any) -> Any:
    """An array in one of the forms in which files hold it."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.ndim:
        return array
    form = rng.randrange(8)
    if form == 0 and array.ndim == 2 and max(array.shape) < 1000:  # a dia_matrix of a long row takes gigabytes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layout = f"{rng.choice(LAYOUTS)}_{rng.choice(('matrix', 'array'))}"
            return getattr(scipy.sparse, layout)(array.astype(float) if array.dtype.itemsize < 4 else array)
    if form == 1 and array.ndim == 2:
        return np.matrix(array)
    if form == 2 and array.size < 30_000:
        return array.tolist()
    if form == 3:
        return np.asfortranarray(array)
    if form == 4:
        return array.astype(array.dtype.newbyteorder(">"))
    if form == 5 and chumpy:
        inner = _made(chumpy.Ch, x=array, _dirty_vars=set(), _itr=None)
        order = np.random.default_rng(rng.randrange(2**32)).permutation(array.size)
        shuffled = np.empty(array.size, array.dtype)
        shuffled[order] = array.ravel()
        axes = tuple(reversed(range(array.ndim)))
        return rng.choice(
            (
                inner,
                _made(chumpy.Select, a=_made(chumpy.Ch, x=shuffled), idxs=order, preferred_shape=array.shape),
                _made(chumpy.transpose, a=_made(chumpy.Ch, x=array.T.copy()), axes=axes),
                _made(chumpy.reshape, a=_made(chumpy.Ch, x=array.ravel()), newshape=array.shape),
            )
        )
    return array


def pickled(contents: Any, rng: random.Random) -> bytes:
    """A pickle of arrays in various forms, by any protocol."""
    with _chumpy() as chumpy:
        if isinstance(contents, dict):
            contents = {key: stored(array, rng, chumpy) for key, array in contents.items()}
        else:
            contents = stored(contents, rng, chumpy)
        return pickle.dumps(contents, rng.choice((0, 1, 2, 2, 3, 4, 5)))


def npz(contents: dict[str, Any], rng: random.Random) -> bytes:
    """An npz file, of which some arrays are pickled objects; raises what NumPy raises for what it cannot write."""
    file, arrays = io.BytesIO(), {}
    for key, array in contents.items():
        form = stored(array, rng, None)
        arrays[key] = form
        if scipy.sparse.issparse(form):
            arrays[key] = np.empty((), object)
            arrays[key][()] = form
    rng.choice((np.savez, np.savez_compressed))(file, **arrays)
    return file.getvalue()
