"""Scoring of cached predictions at the size of 3DPW's test set: `python -m benchmarks.evaluation` or `make bench-eval`.

35,515 samples in 60 sequences, 6,890 vertices, gendered truth, all metrics of `3dpw-j14-pelvis`, intervals, a result.
Beside it a plain loop over samples in NumPy that does the same work, timed on its first samples in a process of its
own, before and after ours (the median of its parts), and scaled up. The bodies are the built-in one in three sizes: the
amount of work is SMPL's.
"""

import argparse
import dataclasses
import functools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax import distributed, metrics, runtime
from hmr_jax.body import Bodies, BodyModel, load_body_model, skin
from hmr_jax.config import MeshConfig
from hmr_jax.evaluation.external import ExternalPredictions, TruthFile, predict_from_file
from hmr_jax.evaluation.loop import collect
from hmr_jax.evaluation.results import summarize, write_result
from hmr_jax.evaluation.scores import make_score_step
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.protocols import get_protocol

SAMPLES, SEQUENCES, POOL = 35_515, 60, 512
REQUIRED_SECONDS, REQUIRED_RATIO, REQUIRED_ALIGNMENT = 180.0, 10.0, 20.0
NAMES = ("mpjpe", "pa_mpjpe", "pve", "pa_pve", "mpjpe_z", "pa_mpjpe_z")


def main() -> None:
    """Prints the table; fails where a requirement is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="how many samples are scored")
    parser.add_argument("--loop", type=int, default=400, help="how many of them the NumPy loop scores, twice")
    parser.add_argument("--batch-size", type=int, default=256)
    options = parser.parse_args()
    os.environ["HMR_JAX_CACHE"] = ""  # compilation counts
    runtime.set_up(inference=True)  # as eval.py does
    bodies = make_bodies()
    with tempfile.TemporaryDirectory() as folder:
        truth, predictions = write_files(Path(folder), options.samples)
        for case in ("parameters", "vertices"):
            loop = functools.partial(in_another_process, numpy_loop, case, truth, predictions, options.loop)
            before, found = loop()
            seconds, rows = ours(case, bodies, truth, predictions, options.batch_size, Path(folder))
            after, _ = loop()
            for column, name in enumerate(NAMES):
                np.testing.assert_allclose(rows[name][: len(found)], found[:, column], rtol=1e-3, atol=0.05)
            per_sample = float(np.median(before + after))
            whole = per_sample * options.samples
            full = seconds * SAMPLES / options.samples
            rate = options.samples / seconds
            print(f"predictions as {case}: {options.samples:,} samples in {seconds:.1f} s, {rate:,.0f}/s")
            print(f"  NumPy loop: {1e3 * per_sample:.2f} ms a sample, {whole:.0f} s scaled from {options.loop}; "
                  f"ratio {whole / seconds:.1f} (wanted {REQUIRED_RATIO:g})")  # fmt: skip
            verdict(full <= REQUIRED_SECONDS and whole / seconds >= REQUIRED_RATIO)
    alignment(options.samples)


def make_bodies() -> Bodies:
    """The built-in body, and larger and smaller ones for the two genders."""
    body = load_body_model()

    def scaled(factor: float) -> BodyModel:
        arrays = {name: np.float32(factor) * getattr(body, name) for name in ("v_template", "shapedirs", "posedirs")}
        return dataclasses.replace(body, **arrays)

    return Bodies(body, (scaled(1.05), scaled(0.95)))


def write_files(folder: Path, count: int) -> tuple[Path, Path]:
    """Random poses as a truth file, and noisy ones as predictions."""
    rng = np.random.default_rng(0)
    sequence = np.arange(count) * SEQUENCES // count
    keys = np.array([f"sequence_{s:02d}/{number:06d}" for number, s in enumerate(sequence)])
    pose = rng.normal(0, 0.3, (count, 24, 3)).astype(np.float32)
    betas = rng.normal(0, 1, (count, 10)).astype(np.float32)
    labels = {"keys": keys, "topology": np.array("hmr-default")}
    np.savez(folder / "truth.npz", pose=pose, betas=betas, gender=np.array(["m", "f"])[sequence % 2], **labels)
    noisy = pose + rng.normal(0, 0.1, pose.shape).astype(np.float32)
    np.savez(folder / "predictions.npz", pose=noisy, betas=betas + rng.normal(0, 1, betas.shape), **labels)
    return folder / "truth.npz", folder / "predictions.npz"


def read_predictions(case: str, bodies: Bodies, file: Path) -> ExternalPredictions:
    """The file; for "vertices", a pool of meshes made from it that the samples share, instead of 2.9 GB of them."""
    predictions = ExternalPredictions(file, get_protocol("3dpw-j14-pelvis"))
    if case == "vertices":
        betas, rotations = (predictions.arrays[name][:POOL] for name in ("betas", "rotations"))
        posed = jax.jit(skin)(bodies.neutral, jnp.float32(betas), jnp.float32(rotations))
        predictions.arrays = {"vertices": np.asarray(posed.vertices)}
        predictions._row = {key: row % POOL for key, row in predictions._row.items()}
    return predictions


def ours(case, bodies, truth_file, prediction_file, batch_size, folder) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds from files to result file, compilation included; and the rows of the samples."""
    protocol = get_protocol("3dpw-j14-pelvis")
    predictions = read_predictions(case, bodies, prediction_file)
    start, processor = time.perf_counter(), time.process_time()
    truth = TruthFile(truth_file, batch_size)
    mesh = distributed.make_mesh(MeshConfig())
    placed = bodies.on(mesh)
    step = make_score_step(protocol, placed, predict_from_file(placed.neutral))
    samples = collect(step, {}, predictions.attach(truth, truth.keys), mesh, truth.keys)
    result = summarize(protocol, samples)
    write_result(folder / "result.json", result, {}, {})
    print(f"  processor time of ours, all threads: {time.process_time() - processor:.1f} s")
    return time.perf_counter() - start, result.per_sample


def in_another_process(function: Callable, *arguments: Any) -> Any:
    """The result of a function of this module, run where nothing of ours has been set up."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def numpy_loop(case, truth_file, prediction_file, count) -> tuple[list[float], np.ndarray]:
    """A plain loop over the first samples: seconds a sample, of each of ten parts, and the errors (count, metrics)."""
    bodies = make_bodies()
    truth, predictions = TruthFile(truth_file, 1), read_predictions(case, bodies, prediction_file)
    labels, genders = truth._arrays, truth._gender
    flat = [_flatten(body) for body in (bodies.neutral, *bodies.gendered)]
    regressor = np.asarray(bodies.neutral.regressors["h36m"])
    rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(labels["pose"][:count])))
    protocol = get_protocol("3dpw-j14-pelvis")
    seconds, found = [], []
    for part in np.array_split(np.arange(count), 10):
        start = time.perf_counter()
        for at in part:
            true = _numpy_skin(flat[genders[at]], labels["betas"][at], rotations[at])
            if case == "vertices":
                pred = predictions.arrays["vertices"][at % POOL]
            else:
                pred = _numpy_skin(flat[0], predictions.arrays["betas"][at], predictions.arrays["rotations"][at])
            found.append(_numpy_errors(protocol, regressor, pred, true))
        seconds.append((time.perf_counter() - start) / len(part))
    return seconds, np.array(found)


def alignment(count: int) -> None:
    """PA-MPJPE of 14 joints alone."""
    rng = np.random.default_rng(0)
    target = rng.normal(0, 0.4, (count, 14, 3)).astype(np.float32)
    pred = target + rng.normal(0, 0.05, target.shape).astype(np.float32)
    step = jax.jit(metrics.pa_mpjpe)
    pair = jnp.asarray(pred), jnp.asarray(target)
    batched = np.asarray(step(*pair))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        step(*pair).block_until_ready()
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    subset = min(count, 2000)
    loop = np.array([1e3 * np.linalg.norm(_numpy_align(x, y) - y, axis=1).mean() for x, y in
                     zip(pred[:subset], target[:subset], strict=True)])  # fmt: skip
    scaled = (time.perf_counter() - start) / subset * count
    np.testing.assert_allclose(batched[:subset], loop, rtol=1e-4)
    median = float(np.median(times))
    print(f"PA-MPJPE alone: {1e3 * median:.1f} ms for {count:,}; NumPy loop {scaled:.2f} s scaled from {subset:,}; "
          f"ratio {scaled / median:.0f} (wanted {REQUIRED_ALIGNMENT:g})")  # fmt: skip
    verdict(scaled / median >= REQUIRED_ALIGNMENT)


def verdict(met: bool) -> None:
    print("  met" if met else "  NOT MET", flush=True)


def _flatten(body: BodyModel) -> dict[str, np.ndarray]:
    """The arrays of a body, contiguous, as a loop would keep them."""
    count = body.num_vertices
    return {
        "template": np.asarray(body.v_template), "regressor": np.asarray(body.joint_regressor),
        "shapes": np.ascontiguousarray(np.asarray(body.shapedirs).reshape(3 * count, -1)),
        "poses": np.ascontiguousarray(np.asarray(body.posedirs).reshape(3 * count, -1)),
        "weights": np.asarray(body.skinning_weights), "parents": np.array(body.parents),
    }  # fmt: skip


def _numpy_skin(body, betas, rotations) -> np.ndarray:
    """Linear blend skinning of one sample."""
    shaped = body["template"] + (body["shapes"] @ betas.astype(np.float32)).reshape(-1, 3)
    joints = body["regressor"] @ shaped
    feature = (rotations[1:] - np.eye(3, dtype=np.float32)).reshape(-1)
    posed = shaped + (body["poses"] @ feature.astype(np.float32)).reshape(-1, 3)
    turns, places = [rotations[0]], [joints[0]]
    for joint, parent in enumerate(body["parents"][1:], 1):
        places.append(places[parent] + turns[parent] @ (joints[joint] - joints[parent]))
        turns.append(turns[parent] @ rotations[joint])
    turn, place = np.stack(turns), np.stack(places)
    shift = place - np.einsum("jab,jb->ja", turn, joints)
    transforms = body["weights"] @ np.concatenate([turn, shift[..., None]], -1).reshape(-1, 12)
    transforms = transforms.reshape(-1, 3, 4)
    return np.einsum("vab,vb->va", transforms[..., :3], posed) + transforms[..., 3]


def _numpy_align(source, target) -> np.ndarray:
    x, y = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(x.T @ y)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (s * signs).sum() / (x**2).sum() * x @ ((u * signs) @ vt) + target.mean(0)


def _numpy_errors(protocol, regressor, pred, true) -> list[float]:
    joints, root = list(protocol.joints), list(protocol.root)
    points = []
    meshes = []
    for vertices in (pred, true):
        regressed = regressor @ vertices
        center = regressed[root].mean(0)
        points.append(regressed[joints] - center)
        meshes.append(vertices - center)
    aligned, mesh = _numpy_align(*points), _numpy_align(*meshes)
    return [
        1e3 * np.linalg.norm(points[0] - points[1], axis=1).mean(),
        1e3 * np.linalg.norm(aligned - points[1], axis=1).mean(),
        1e3 * np.linalg.norm(meshes[0] - meshes[1], axis=1).mean(),
        1e3 * np.linalg.norm(mesh - meshes[1], axis=1).mean(),
        1e3 * np.abs(points[0] - points[1])[:, 2].mean(),
        1e3 * np.abs(aligned - points[1])[:, 2].mean(),
    ]


if __name__ == "__main__":
    main()
