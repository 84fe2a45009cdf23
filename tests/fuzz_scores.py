"""Fuzzes the files that are scored without images: predictions of other systems, and the truth.

    python tests/fuzz_scores.py --minutes 10

One of two whole files is changed at random. The answer is an error of one sentence that names the file, or the scores
that NumPy gives one person at a time. tests/test_fuzz_scores.py runs a bounded number of the same examples, and the
changes that once broke the evaluation.
"""

import contextlib
import dataclasses
import functools
import io
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import mutate
from fuzz_changes import changes
from fuzz_loop import answer, run_for_minutes
from numpy_body import aligned, posed_body, rotation

from hmr_jax import distributed
from hmr_jax.body import Bodies, load_body_model
from hmr_jax.body.genders import parse_gender
from hmr_jax.config import MeshConfig
from hmr_jax.evaluation import commands
from hmr_jax.evaluation.external import ExternalPredictions, predict_from_file
from hmr_jax.evaluation.loop import collect
from hmr_jax.evaluation.results import Evaluation, summarize
from hmr_jax.evaluation.scores import make_score_step
from hmr_jax.protocols import Protocol, get_protocol

_KEPT = tempfile.TemporaryDirectory(prefix="fuzz_scores_")  # until the process ends
FOLDER = Path(_KEPT.name)
COUNT, BATCH = 5, 3
PROTOCOLS = ("synthetic", "rich-24-hips", "3dpw-j14-pelvis", "coco-pck")
KEYS = np.array([f"walk_{number // 3}/{number:03d}" for number in range(COUNT)])
BODY = load_body_model()
MALE = dataclasses.replace(BODY, v_template=np.asarray(BODY.v_template) * np.float32(1.05))
FEMALE = dataclasses.replace(BODY, v_template=np.asarray(BODY.v_template) * np.float32(0.95))
BODIES = dict(zip("nmf", (BODY, MALE, FEMALE), strict=True))


@functools.cache
def ready(name: str) -> tuple[Protocol, Bodies, Any]:
    """A protocol, its bodies, and its compiled step."""
    protocol = get_protocol(name)
    gendered = (MALE, FEMALE) if protocol.gender == "gendered" else None
    mesh = distributed.make_mesh(MeshConfig())
    bodies = Bodies(BODY, gendered)
    placed = bodies.on(mesh)
    return protocol, bodies, (make_score_step(protocol, placed, predict_from_file(placed.neutral)), mesh)


def poses(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(rng.randrange(3))
    return noise.normal(0, 0.3, (COUNT, 24, 3)).astype(np.float32), noise.normal(0, 1, (COUNT, 10)).astype(np.float32)


@functools.lru_cache(200)
def _posed(pose: bytes, shape: tuple[int, ...], betas: bytes, gender: str) -> tuple[np.ndarray, np.ndarray]:
    vectors = np.frombuffer(pose).reshape(shape)
    rotations = np.array([rotation(vector) for vector in vectors]) if len(shape) == 2 else vectors
    with np.errstate(all="ignore"):
        return posed_body(BODIES[gender], np.frombuffer(betas), rotations)


def posed(pose: np.ndarray, betas: np.ndarray, gender: str = "n") -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints of one person from axis-angle (24, 3) or rotations (24, 3, 3)."""
    pose, betas = np.asarray(pose, np.float64), np.asarray(betas, np.float64)
    return _posed(pose.tobytes(), pose.shape, betas.tobytes(), gender)


def truth(rng: random.Random) -> dict[str, Any]:
    """The labels of some people, of whom one has no body."""
    pose, betas = poses(random.Random(0))
    noise = np.random.default_rng(7)
    tree: dict[str, Any] = {"keys": KEYS, "topology": np.array("hmr-default"), "pose": pose, "betas": betas}
    points = np.concatenate([noise.normal(0, 0.4, (COUNT, 44, 3)), noise.integers(0, 2, (COUNT, 44, 1))], -1)
    points[:3, 39, 3] = 1  # the root has a label
    flat = np.concatenate([noise.uniform(-0.4, 0.4, (COUNT, 44, 2)), noise.choice([0, 0.4, 0.9], (COUNT, 44, 1))], -1)
    tree |= {"keypoints_3d": points.astype(np.float32), "keypoints_2d": flat.astype(np.float32)}
    tree["gender"] = rng.choice((np.array(list("nmffm")), np.array("male"), np.array([b"f"] * COUNT)))
    if rng.random() < 0.3:
        tree["pose"] = pose.reshape(COUNT, 72).copy()
    if rng.random() < 0.3:
        for name in ("pose", "betas"):
            tree[name] = tree[name].copy()
            tree[name][1] = np.nan
    if rng.random() < 0.2:
        tree["vertices"] = np.array([posed(*one)[0] for one in zip(pose, betas, strict=True)], np.float32)
    return tree


def predictions(rng: random.Random) -> dict[str, Any]:
    """Predictions in one of the forms that a file may have, in any order, some missing or failed."""
    pose, betas = poses(rng)
    order = rng.sample(range(COUNT), COUNT if rng.random() < 0.7 else COUNT - 1)
    noise = np.random.default_rng(8)
    form = rng.randrange(4)
    tree: dict[str, Any] = {"betas": betas}
    if form == 0:
        tree["pose"] = pose.reshape(COUNT, *rng.choice(((72,), (24, 3))))
    elif form in (1, 2):
        tree["rotations"] = np.array([[rotation(vector) for vector in one] for one in pose], np.float32)
    if form >= 2:
        bodies = [posed(*one) for one in zip(pose, betas, strict=True)]
        tree["vertices"] = np.array([vertices for vertices, _ in bodies], np.float32) + np.float32(form - 2)
        if rng.random() < 0.5:
            tree["joints"] = np.array([joints for _, joints in bodies], np.float32)
    if form == 3 and rng.random() < 0.5:
        del tree["betas"]
    tree["keypoints_2d"] = noise.uniform(-0.4, 0.4, (COUNT, 44, 2)).astype(np.float32)
    if rng.random() < 0.4:
        tree["sigma"] = np.full((COUNT, 44), 0.05, np.float32)
    if rng.random() < 0.3:
        tree["keypoints_3d"] = noise.normal(0, 0.4, (COUNT, 44, 3)).astype(np.float32)
    if rng.random() < 0.3:
        name = rng.choice(sorted(tree))
        tree[name] = tree[name].copy()
        tree[name][rng.randrange(COUNT)] = np.nan
    kind = rng.choice((np.float32, np.float32, np.float64, np.float16))
    tree = {name: array[order].astype(kind) for name, array in tree.items()}
    keys = KEYS[order]
    tree["keys"] = rng.choice((keys, keys, np.char.encode(keys), np.array([str(key.encode()) for key in keys])))
    return tree | {"topology": rng.choice((np.array("hmr-default"), np.array(["hmr-default"])))}


# --------------------------------------------------------------------------------------------------- the reference


def text(value: Any) -> str:
    """A key as a file may hold it."""
    word = value.decode() if isinstance(value, bytes) else str(value)
    return word[2:-1] if word[:2] in ("b'", 'b"') else word


def rows_of(tree: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The rows of each person by their key, in double precision."""
    names = [name for name in tree if name not in ("keys", "topology", "gender")]
    count = len(np.atleast_1d(tree["keys"]))
    genders = np.asarray(tree.get("gender", "n"))
    genders = np.full(count, genders[()]) if genders.ndim == 0 else genders.reshape(-1)
    return {
        text(key): {name: np.asarray(tree[name][row], np.float32).astype(np.float64) for name in names}
        | {"gender": parse_gender(genders[row])}
        for row, key in enumerate(tree["keys"])
    }


def true_person(protocol: Protocol, row: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Points about their root, which of them count, and the mesh about its root; None where there is no label."""
    points = counted = mesh = None
    known = {name: not np.isnan(value).all() for name, value in row.items() if name != "gender"}
    vertices = row["vertices"] if known.get("vertices") else None
    if vertices is None and known.get("pose") and known.get("betas") and "vertices" not in row:
        gender = row["gender"] if protocol.gender == "gendered" and protocol.truth == "body" else "n"
        vertices = posed(row["pose"].reshape(24, 3), row["betas"], gender)[0]
    if vertices is not None:
        points, root = regressed(protocol, vertices)
        mesh, counted = vertices - root, np.ones(len(points), bool)
    if protocol.truth != "body":
        points = counted = None
        if "keypoints_3d" in row:
            labels = row["keypoints_3d"]
            root = labels[list(protocol.keypoint_root)]
            counted = labels[list(protocol.keypoints), 3] > 0
            if (root[:, 3] > 0).all() and counted.any():
                points = labels[list(protocol.keypoints), :3] - root[:, :3].mean(0)
    return points, counted, mesh


def regressed(protocol: Protocol, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A protocol's points of a mesh about their root, and the root."""
    dense = BODY.joint_regressor if protocol.regressor == "body" else BODY.regressors[protocol.regressor]
    found = np.asarray(dense, np.float64) @ vertices
    root = found[list(protocol.root)].mean(0)
    return found[list(protocol.joints)] - root, root


def reference(protocol: Protocol, predicted: dict[str, Any], true: dict[str, Any]) -> dict[str, float]:
    """Mean errors in millimetres, or shares in percent, one person after the other."""
    guesses, errors = rows_of(predicted), {}
    people = rows_of(true)
    if protocol.space == "2d":
        return shares_2d(protocol, guesses, people)
    for key, row in people.items():
        points, counted, mesh = true_person(protocol, row)
        if points is None:
            continue
        guess = guesses.get(key, {})
        vertices = guess.get("vertices")
        if vertices is None and {"betas", "pose"} & guess.keys() and ("pose" in guess or "rotations" in guess):
            pose = guess["pose"].reshape(24, 3) if "pose" in guess else guess["rotations"]
            vertices = posed(pose, guess["betas"])[0]
        vertices = np.full((6890, 3), np.nan) if vertices is None else vertices
        mine, root = regressed(protocol, vertices)
        failed = not np.isfinite(vertices).all()
        mine, shape = (np.zeros_like(mine), np.zeros_like(vertices)) if failed else (mine, vertices - root)
        points, mine = points[counted], mine[counted]
        pairs = {"mpjpe": (mine, points), "pa_mpjpe": (aligned(mine, points), points)}
        if mesh is not None and "pve" in protocol.metrics:
            pairs |= {"pve": (shape, mesh), "pa_pve": (aligned(shape, mesh), mesh)}
        for name, (one, other) in pairs.items():
            errors.setdefault(name, []).append(1000 * np.linalg.norm(one - other, axis=1).mean())
    return {name: float(np.mean(values)) for name, values in errors.items()}


def shares_2d(protocol: Protocol, guesses: dict, people: dict) -> dict[str, float]:
    """The mean over keypoints of the percentage of their labels that are met."""
    met: dict[str, dict[int, list[bool]]] = {"pck": {}, "pck_tight": {}}
    for key, row in people.items():
        labels = row.get("keypoints_2d", np.zeros((44, 3)))
        guess = guesses.get(key, {}).get("keypoints_2d", np.full((44, 2), np.nan))
        shown = labels[:, 2] > 0.5
        failed = not np.isfinite(guess[shown]).all()
        for point in np.flatnonzero(shown):
            distance = np.inf if failed else np.linalg.norm(guess[point] - labels[point, :2])
            for name, found in met.items():
                found.setdefault(int(point), []).append(bool(distance <= getattr(protocol, name)))
    return {name: 100 * float(np.mean([np.mean(one) for one in found.values()])) for name, found in met.items()}


# ----------------------------------------------------------------------------------------------------------- examples


def evaluated(name: str, predicted: Path, true: Path) -> Evaluation:
    """The result of the command, with programs that are compiled once."""
    protocol, bodies, (step, mesh) = ready(name)
    rows = ExternalPredictions(predicted, protocol)
    settings = commands.Settings(str(true), "", 0, BATCH, None, False, None, False)
    kept, commands.load_bodies = commands.load_bodies, lambda *_: bodies
    try:
        plan = commands._plan_predictions(rows, protocol, "", settings, None)
    finally:
        commands.load_bodies = kept
    source = plan.source
    samples = collect(step, {}, rows.attach(source, source.keys), mesh, source.keys)
    rows.check_keys(samples["key"].tolist(), str(true))
    return summarize(protocol, samples, resamples=10)


def write(path: Path, tree: Any, rng: random.Random) -> bool:
    """Writes an npz file, now and then a damaged one; False for what none can hold."""
    file = io.BytesIO()
    try:
        rng.choice((np.savez, np.savez_compressed))(file, **tree)
    except Exception:
        return False
    path.write_bytes(mutate(file.getvalue(), rng) if rng.random() < 0.1 else file.getvalue())
    return True


def check(kind: str, rng: random.Random) -> bool:
    """Scores two files, one of them changed; whether they could be written."""
    protocol = rng.choice(PROTOCOLS)
    trees: dict[str, Any] = {"predictions": predictions(rng), "truth": truth(rng)}
    if rng.random() < 0.8:
        trees[kind] = changes(trees[kind], rng)
    paths = {name: FOLDER / f"{name}.npz" for name in trees}
    for name, path in paths.items():
        if not write(path, trees[name], rng if name == kind else random.Random(3)):
            return False
    result = evaluated(protocol, paths["predictions"], paths["truth"])
    wanted = reference(get_protocol(protocol), trees["predictions"], trees["truth"])
    assert wanted.keys() <= result.metrics.keys(), (wanted, result.metrics)
    for name, value in wanted.items():
        np.testing.assert_allclose(result.metrics[name], value, rtol=3e-3, atol=0.1, err_msg=f"{protocol} {name}")
    return True


KINDS = ("predictions", "truth")


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there was a result rather than an error."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        result, message = answer(kind, seed, lambda: check(kind, random.Random(seed)))
    if not message:
        return result
    of_protocol = "samples has the truth" in message or "labels of protocol" in message
    assert f"{kind}.npz" in message or of_protocol, (kind, seed, message)
    return False


def main() -> None:
    # Each set of arrays needs a program, which takes longer to compile than to run a few times.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
    run_for_minutes(__doc__, KINDS, one)


if __name__ == "__main__":
    main()
