"""Fuzzes files of body models: SMPL and SMPL-X, joint regressors beside or in them, and the map between the two.

    python tests/fuzz_bodies.py --minutes 10

Small bodies are changed at random, and written in the many forms of the publishers' and other projects' files. The
answer is an error of one sentence that names the file, or a body that an explicit skinning by NumPy of the arrays that
were written poses alike. tests/test_fuzz_bodies.py runs a bounded number of the same examples, and the changes that
once broke a reader.
"""

import dataclasses
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fuzz_body_files
from fuzz import mutate
from fuzz_body_files import OTHER_NAMES, npz, pickled
from fuzz_changes import changes
from fuzz_loop import answer, run_for_minutes
from numpy_body import posed_body, rotation

from hmr_jax.body import BodyModel, joint_set_matrix, load_body_model, skin
from hmr_jax.body.joints import H36M_17, J19, SMPL_24, SMPL_PARENTS
from hmr_jax.body.prepare import prepare
from hmr_jax.body.regressors import EXTRA_9
from hmr_jax.body.smpl_files import REGRESSOR_FILES
from hmr_jax.body.smplx import SMPLX_PARENTS, read_smplx, read_vertex_map, smplx_surface

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_bodies_")  # until the process ends
FOLDER = Path(_KEPT.name)
SMPL, SMPLX, REGRESSORS = fuzz_body_files.smpl(), fuzz_body_files.smplx(), fuzz_body_files.regressors()
TRUE_MAP = fuzz_body_files.vertex_map()
DTYPES = (np.float32, np.float64, np.float64, np.float16)
_skin = jax.jit(skin)


def write(path: Path, contents: Any, rng: random.Random) -> bool:
    """Writes a file in a random form; whether its values are known, since what is damaged in it shows."""
    data = npz(contents, rng) if path.suffix == ".npz" else pickled(contents, rng)
    damaged = rng.random() < 0.15
    path.write_bytes(mutate(data, rng) if damaged else data)
    return not damaged or path.suffix == ".npz"


def varied(tree: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same body in another order and precision, with arrays that do not matter."""
    made = {key: array.astype(rng.choice(DTYPES)) if array.dtype.kind == "f" else array for key, array in tree.items()}
    if rng.random() < 0.3:
        made |= {"bs_type": "lrotmin", "J": np.zeros((24, 3)), "bs_style": "lbs", "x": rng.choice((None, [1, [2]]))}
    keys = list(made)
    rng.shuffle(keys)
    return {key: made[key] for key in keys}


def as_read(tree: dict[str, Any], parents: tuple[int, ...], shapes: list[int]) -> Any:
    """The arrays of a file under the names of `BodyModel`, in double precision; `shapes` are the betas in use."""
    arrays = {key: np.asarray(tree[key], np.float32).astype(np.float64) for key in list(SMPL)[:5]}
    return SimpleNamespace(
        v_template=arrays["v_template"], shapedirs=arrays["shapedirs"][..., shapes], posedirs=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"], skinning_weights=arrays["weights"], parents=parents,
    )  # fmt: skip


def pose(rng: random.Random, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(J, 3) axis-angle and (J, 3, 3) rotations."""
    vectors = np.random.default_rng(rng.randrange(2**32)).normal(0, 0.4, (count, 3))
    return vectors, np.array([rotation(vector) for vector in vectors])


def posed(body: BodyModel, betas: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by the package; without what need not be compiled again for each body."""
    plain = dataclasses.replace(body, faces=np.zeros((0, 3), np.int32), regressors={}, landmarks=None, topology="")
    vertices, joints = _skin(plain, betas[None].astype(np.float32), rotations[None].astype(np.float32))
    return np.asarray(vertices)[0], np.asarray(joints)[0]


def check_smpl(rng: random.Random) -> Path:
    """Returns the file, for messages."""
    tree: Any = varied(SMPL, rng)
    if rng.random() < 0.2:
        extra = np.random.default_rng(3).normal(0, 0.01, (192, 3, rng.choice((0, 6, 290))))
        tree["shapedirs"] = np.concatenate([tree["shapedirs"], extra], -1)[..., rng.choice((0, 0, 4)) :]
    if rng.random() < 0.5:
        tree = changes(tree, rng)
    path = FOLDER / f"body.{rng.choice(('npz', 'pkl'))}"
    written = tree
    if isinstance(tree, dict) and rng.random() < 0.2:
        written = {OTHER_NAMES.get(key, key): array for key, array in tree.items()}
    known = attempt(path, lambda: write(path, written, rng))
    body = load_body_model(path)
    betas, (_, rotations) = np.linspace(-2, 2, body.num_betas), pose(rng, 24)
    vertices, joints = posed(body, betas, rotations)
    assert np.isfinite(vertices).all()
    if known:
        truth = as_read(_usual(tree), SMPL_PARENTS, list(range(body.num_betas)))
        wanted = posed_body(truth, betas, rotations)
        np.testing.assert_allclose(vertices, wanted[0], atol=1e-4 * max(1, np.abs(wanted[0]).max()))
        np.testing.assert_allclose(joints, wanted[1], atol=1e-4 * max(1, np.abs(wanted[1]).max()))
        np.testing.assert_array_equal(body.faces, np.asarray(_usual(tree)["f"]))
        check_shares(truth)
    return path


def _usual(tree: Any) -> Any:
    """A tree with SMPL's own names, where a change has given it another project's."""
    return {own: tree[other] for own, other in OTHER_NAMES.items() if other in tree and own not in tree} | tree


def check_shares(truth: Any) -> None:
    """A body whose vertices follow joints by shares that are not 1 together shrinks without a word."""
    assert np.abs(truth.skinning_weights.sum(1) - 1).max() < 0.06
    assert np.abs(truth.joint_regressor.sum(1) - 1).max() < 0.06


def check_smplx(rng: random.Random) -> Path:
    tree: Any = varied(SMPLX, rng)
    num_betas, first = 10, 10
    if rng.random() < 0.2:
        more = np.random.default_rng(3).normal(0, 0.01, (220, 3, 400))
        tree["shapedirs"], num_betas, first = more.astype(np.float32), 20, 300
    if rng.random() < 0.5:
        tree = changes(tree, rng)
    path = FOLDER / f"x.{rng.choice(('npz', 'pkl'))}"
    known = attempt(path, lambda: write(path, tree, rng))
    model = read_smplx(path)
    (vectors, rotations), noise = pose(rng, 55), np.random.default_rng(4)
    betas, expression = noise.normal(size=model.num_betas), noise.normal(size=model.body.num_betas - model.num_betas)
    vectors = model.full_pose(vectors[None, :22].reshape(1, -1), noise.normal(0, 0.3, (1, 2, 6)), None, False)
    assert np.isfinite(vectors).all()
    output = smplx_surface(model, betas[None], vectors, None, expression[None])
    assert np.isfinite(output.vertices).all()
    if not known:
        return path
    if len(betas) == num_betas and len(expression) == 10:
        truth = as_read(tree, SMPLX_PARENTS, [*range(num_betas), *range(first, first + 10)])
        noise = np.random.default_rng(4)
        noise.normal(size=num_betas + 10)
        both = zip(noise.normal(0, 0.3, (2, 6)), "lr", strict=True)
        hands = [
            hand @ np.asarray(tree[f"hands_components{side}"])[:6] + np.asarray(tree[f"hands_mean{side}"])
            for hand, side in both
        ]
        np.testing.assert_allclose(vectors[0, 25:], np.reshape(hands, (30, 3)), atol=1e-5)
        rotations = np.array([rotation(vector) for vector in vectors[0]])
        wanted = posed_body(truth, np.concatenate([betas, expression]), rotations)
        for found, true in zip(output, wanted, strict=True):
            np.testing.assert_allclose(found[0], true, atol=1e-4 * max(1, np.abs(true).max()))
        check_shares(truth)
        np.testing.assert_array_equal(model.body.faces, np.asarray(tree["f"]))
    return path


def check_regressors(rng: random.Random) -> Path:
    """A body with changed regressors beside it or in its file, read by itself or after `prepare`."""
    folder = FOLDER / "bodies"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    trees: dict[str, Any] = {}
    for name in rng.sample(sorted(REGRESSORS), rng.choice((1, 1, 2))):
        tree = varied({name: REGRESSORS[name]}, rng)[name]
        trees[name] = changes(tree, rng) if rng.random() < 0.5 else tree
    inside = rng.random() < 0.2
    body_file = folder / ("body.npz" if inside else rng.choice(("SMPL_NEUTRAL.npz", "female.pkl")))
    known, files = True, [body_file]
    if inside:
        content = SMPL | {f"regressor_{name}": tree for name, tree in trees.items()}
        known = attempt(folder, lambda: write(body_file, content, rng))
    else:
        body_file.write_bytes(npz(SMPL, rng) if body_file.suffix == ".npz" else pickled(SMPL, rng))
        for name, tree in trees.items():
            file = folder / f"{REGRESSOR_FILES[name][0]}.{rng.choice(('npy', 'pkl'))}"
            known &= attempt(folder, lambda file=file, tree=tree: _write_matrix(file, tree, rng))
            files.append(file)
    if rng.random() < 0.3:
        out = folder / "out"
        prepare(rng.sample(files, len(files)), out)
        body_file = next(out.glob("*.npz"))
    body = load_body_model(body_file)
    _, rotations = pose(rng, 24)
    vertices, joints = posed_body(body, np.zeros(10), rotations)
    for name, points in _points(body, joints, vertices).items():
        matrix, ids = joint_set_matrix(body, {"extra": "j19", "h36m": "h36m_17"}.get(name, name))
        found = dict(
            zip(H36M_17 if name == "h36m" else J19, matrix @ np.concatenate([joints, vertices[ids]]), strict=True)
        )
        if known and name in trees:
            points = np.asarray(trees[name], np.float64) @ vertices
            assert np.abs(np.asarray(trees[name], np.float64).sum(1) - 1).max() < 0.06
        labels = {"j19": J19, "extra": EXTRA_9, "h36m": H36M_17}[name]
        for label, point in zip(labels, points, strict=True):
            np.testing.assert_allclose(found[label], point, atol=1e-3)
    if known:
        assert set(body.regressors) == {name for name, tree in trees.items() if tree is not None}
    return folder


def _points(body: BodyModel, joints: np.ndarray, vertices: np.ndarray) -> dict[str, np.ndarray]:
    """The points of the regressors that count: HMR2.0's before SPIN's."""
    names = [name for name in body.regressors if not (name == "extra" and "j19" in body.regressors)]
    assert len(joints) == len(SMPL_24)
    return {name: np.asarray(body.regressors[name], np.float64) @ vertices for name in names}


def _write_matrix(path: Path, matrix: Any, rng: random.Random) -> bool:
    if path.suffix == ".pkl":
        return write(path, matrix, rng)
    np.save(path, matrix)
    if rng.random() < 0.15:
        path.write_bytes(mutate(path.read_bytes(), rng))
        return False
    return True


def check_map(rng: random.Random) -> Path:
    tree: Any = {key: array if "shape" in key else array.copy() for key, array in TRUE_MAP.items()}
    order = np.random.default_rng(rng.randrange(2**32)).permutation(2 * 6890)
    tree = {key: array[order] if len(array) > 2 else array for key, array in tree.items()}
    if rng.random() < 0.7:
        tree = changes(tree, rng)
    path = FOLDER / "map.npz"
    known = attempt(path, lambda: write(path, tree, rng))
    matrix = read_vertex_map(path)
    points = np.random.default_rng(5).normal(size=(matrix.shape[1], 3))
    assert matrix.shape[1] == 10475
    if known:
        parts = {key: np.asarray(tree[f"smplx2smpl_{key}"]) for key in ("rows", "columns", "values")}
        wanted = np.zeros((6890, 3))
        weighted = parts["values"].astype(np.float64)[:, None] * points[parts["columns"].astype(int)]
        np.add.at(wanted, parts["rows"].astype(int), weighted)
        np.testing.assert_allclose(matrix @ points, wanted, atol=1e-4)
    return path


class Unwritable(Exception):
    """A change that no file of this format can hold."""


def attempt(path: Path, make: Any) -> bool:
    try:
        return make()
    except Exception as error:
        raise Unwritable(f"{path} {error}") from error


CHECKS = {"smpl": check_smpl, "smplx": check_smplx, "regressors": check_regressors, "map": check_map}
FILES = {"smpl": "body.", "smplx": "x.", "regressors": "bodies", "map": "map.npz"}


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there was a result rather than an error."""
    start = time.time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result, message = answer(kind, seed, lambda: checked(kind, seed), (ValueError,))
    assert time.time() - start < 60, (kind, seed)
    assert not message or str(FOLDER / FILES[kind]) in message, (kind, seed, message)
    return bool(result)


def checked(kind: str, seed: int) -> bool:
    """Checks an example; whether it could be written."""
    try:
        CHECKS[kind](random.Random(seed))
    except Unwritable:
        return False
    return True


def main() -> None:
    run_for_minutes(__doc__, CHECKS, one)


if __name__ == "__main__":
    main()
