"""Evaluation of a model on a finite stream of batches, under a named protocol.

Shapes: N samples, P evaluated points.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from hmr_jax import distributed, metrics
from hmr_jax.batch import Batch, BatchSource
from hmr_jax.body import Bodies, skin
from hmr_jax.config import MeshConfig
from hmr_jax.evaluation.fingerprints import DIGEST, fingerprints
from hmr_jax.evaluation.partial import PartialResults
from hmr_jax.evaluation.results import Evaluation, sample_weights, summarize
from hmr_jax.evaluation.scores import LABELS, has_body, make_score_step, predict_with, true_subject
from hmr_jax.geometry import axis_angle_to_matrix, nearest_rotation
from hmr_jax.models.parameters import Params, to_variables
from hmr_jax.protocols import Protocol, body_subject, get_protocol, load_bodies, score

Rows = dict[str, np.ndarray]
Step = Callable[[Params, Batch], dict[str, jax.Array]]
CHUNK = 50  # batches between two writes of partial results
IN_FLIGHT = 2  # batches that the devices work on while the host prepares the next


def evaluate(
    model: Any,
    params: Params,
    batches: BatchSource | Iterable[Batch],
    mesh: Mesh | None = None,
    baseline: bool = False,
    progress: bool = False,
    *,
    protocol: Protocol | None = None,
    bodies: Bodies | None = None,
    flip_test: bool = False,
    keys: Callable[[np.ndarray], Sequence[str]] | None = None,
    partial: PartialResults | None = None,
    step: Step | None = None,
) -> Evaluation:
    """Scores every valid sample once, in batches of one shape.

    Args:
        model: the network.
        params: all its parameters.
        batches: finite; samples with valid = 0 are padding.
        mesh: devices; by default all of them, data parallel.
        baseline: whether to score also the mean body of the same samples.
        progress: whether to show a progress bar.
        protocol: how to score; None: "synthetic". Ignored for a network without a body.
        bodies: those of the protocol; None: the model's own.
        flip_test: whether to average with the prediction for the mirrored image.
        keys: names of examples by their numbers, called on the host that has read them; None: the numbers.
        partial: where partial results are kept, and found after an interruption; needs a `BatchSource`.
        step: of `score_step`, if the same model is evaluated several times; it is compiled once then.

    Raises:
        ValueError: if there is no sample, a truth is not finite, or a sample comes twice.
    """
    mesh = distributed.make_mesh(MeshConfig()) if mesh is None else mesh
    params = on_devices(mesh, params)
    body = getattr(model, "body", None)
    if body is None:
        return summarize(None, collect(step or _dense_step(model), params, batches, mesh, keys, partial, progress))
    protocol = protocol or get_protocol("synthetic")
    bodies = bodies or load_bodies(protocol, body)
    step = step or make_score_step(protocol, bodies.on(mesh), predict_with(model, flip_test), labels=baseline)
    samples = collect(step, params, batches, mesh, keys, partial, progress)
    labels = {name: samples.pop(f"label/{name}") for name in LABELS if baseline}
    return summarize(protocol, samples, mean_body_errors(protocol, bodies, labels) if baseline else {})


def score_step(model: Any, mesh: Mesh, protocol: Protocol, bodies: Bodies | None) -> Step:
    """The compiled part of `evaluate`, for one that is repeated."""
    if getattr(model, "body", None) is None:
        return _dense_step(model)
    bodies = bodies or load_bodies(protocol, model.body)
    return make_score_step(protocol, bodies.on(mesh), predict_with(model, False))


def on_devices(mesh: Mesh, params: Params) -> Params:
    """Parameters on the devices: those that are there already stay as they are split, the others are replicated."""
    devices, everywhere = set(mesh.devices.flat), NamedSharding(mesh, PartitionSpec())

    def put(array: Any) -> jax.Array:
        there = isinstance(array, jax.Array) and array.sharding.device_set == devices
        return array if there else jax.device_put(array, everywhere)

    return jax.tree.map(put, params)


def _dense_step(model: Any) -> Step:
    """The step of a network without a body."""

    @jax.jit
    def step(params: Params, batch: Batch) -> dict[str, jax.Array]:
        output = model.apply(to_variables(params), batch, train=False)
        return metrics.dense_errors(output, batch) | {"index": batch["index"], "valid": batch["valid"]}

    return step


def collect(
    step: Step,
    params: Params,
    batches: BatchSource | Iterable[Batch],
    mesh: Mesh,
    keys: Callable[[np.ndarray], Sequence[str]] | None = None,
    partial: PartialResults | None = None,
    progress: bool = False,
) -> Rows:
    """Runs a step over all batches and keeps the rows of the valid samples, in the order of their numbers.

    Args:
        step: (params, batch) -> rows (B, ...), "index" and "valid" among them.
        params: first argument of the step.
        batches: finite.
        mesh: devices.
        keys: see `evaluate`.
        partial: see `evaluate`.
        progress: whether to show a progress bar.

    Returns:
        (N, ...) arrays, the same on every host; "key" (N,) str; "labels" and "picture" (N,) fingerprints.

    Raises:
        ValueError: if there is no sample, or a number or a key comes twice.
    """
    replicate = jax.jit(lambda rows: rows, out_shardings=NamedSharding(mesh, PartitionSpec()))
    distributed.agree(0)  # a barrier: the first host opens the folder of partial results before the others read it
    first, parts = partial.load() if partial else (0, [])
    if distributed.agree(first) != first:
        raise ValueError(
            f"The hosts see different partial results: {partial.folder if partial else ''} must be one shared folder."
        )
    stream: Iterator[Batch] = batches(first) if callable(batches) else iter(batches)
    running: deque[dict[str, jax.Array]] = deque()
    rows: list[Rows] = []
    names: dict[int, bytes] = {}
    step_number = first

    def await_rows(limit: int) -> None:
        while len(running) > limit:
            arrays = jax.device_get(running.popleft())
            valid = arrays.pop("valid") > 0
            rows.append({name: array[valid] for name, array in arrays.items()})

    def close_chunk() -> None:
        nonlocal rows, names, first
        await_rows(0)
        if rows:
            all_names = distributed.gather_named(list(names), list(names.values()))
            chunk = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
            parts.append(_with_names(chunk, all_names))
            if partial:
                partial.save(first, step_number, parts[-1])
        rows, names, first = [], {}, step_number

    bar = tqdm(stream, disable=not progress, unit="batch", initial=first)
    for batch in bar:
        if bar.total is None and (examples := getattr(batches, "examples", None)):
            bar.total = -(-examples // (len(batch["index"]) * jax.process_count()))
        running.append(replicate(step(params, distributed.to_global(batch, mesh))))
        is_valid = np.asarray(batch["valid"]) > 0
        numbers = np.asarray(batch["index"])[is_valid]
        named = keys(numbers) if keys else [str(number) for number in numbers]
        prints = [pair for pair, valid in zip(fingerprints(batch), is_valid, strict=True) if valid]
        for number, name, pair in zip(numbers.tolist(), named, prints, strict=True):
            names[number] = b"".join(pair) + name.encode()
        await_rows(IN_FLIGHT)
        step_number += 1
        if step_number - first == CHUNK:
            close_chunk()
    close_chunk()
    if not parts or not sum(len(part["index"]) for part in parts):
        raise ValueError("There is nothing to evaluate: the data set holds no sample.")
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name in ("index", "key"):
        values, counts = np.unique(samples[name], return_counts=True)
        if (counts > 1).any():
            twice = ", ".join(map(str, values[counts > 1][:5].tolist()))
            raise ValueError(f"{int((counts > 1).sum())} samples came more than once, by their {name}: {twice}.")
    order = np.argsort(samples["index"])
    return {name: array[order] for name, array in samples.items()}


def _with_names(rows: Rows, names: dict[int, bytes]) -> Rows:
    """Adds key and fingerprints of each row; that of the image is "picture", the name in result files."""
    texts = [names[int(number)] for number in rows["index"]]
    prints = np.frombuffer(b"".join(text[: 2 * DIGEST] for text in texts), np.uint64).reshape(-1, 2)
    keys = np.array([text[2 * DIGEST :].decode() for text in texts], dtype=str)
    return rows | {"key": keys, "labels": prints[:, 0].copy(), "picture": prints[:, 1].copy()}


def mean_body_errors(
    protocol: Protocol, bodies: Bodies, labels: dict[str, np.ndarray], chunk: int = 64
) -> dict[str, float]:
    """Errors of one body for all samples: each joint's mean rotation (the global one too) and the mean betas.

    The means are over the scored samples themselves, which makes the baseline slightly stronger than means over
    training data.

    Args:
        protocol: one that scores the neutral body.
        bodies: those of the protocol.
        labels: "pose" (N, 24, 3), "betas" (N, 10), "keypoints_3d" (N, 44, 4); "has_pose" and "has_betas" (N,), by
            default 1.
        chunk: samples at a time.

    Returns:
        Means over the samples with labels; empty if none has a body.
    """
    one = np.ones(len(labels["pose"]), np.float32)
    labels = {"has_pose": one, "has_betas": one} | labels
    known = labels["has_pose"] * labels["has_betas"] > 0
    if not known.any():
        return {}
    rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(labels["pose"][known])))
    mean_pose = nearest_rotation(jnp.asarray(rotations.mean(0)))
    neutral = bodies.neutral
    posed = skin(neutral, jnp.asarray(labels["betas"][known].mean(0))[None], mean_pose[None])
    mean = body_subject(protocol, neutral, posed.vertices, posed.joints)

    @jax.jit
    def errors(bodies: Bodies, batch: Batch) -> dict[str, jax.Array]:
        truth = true_subject(protocol, neutral, bodies, batch)
        constant = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(batch["pose"]), *x.shape[1:])), mean)
        rows = score(protocol, constant, truth.subject, truth.weights)
        return rows | {"has_truth": truth.exists, "has_body": has_body(batch)}

    on_device = jax.device_put(Bodies(neutral))
    parts = [
        jax.device_get(errors(on_device, {name: rows[start : start + chunk] for name, rows in labels.items()}))
        for start in range(0, len(one), chunk)
    ]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    weights = {name: sample_weights(protocol, rows, name) for name in protocol.metrics if name in rows}
    return {
        name: float(np.average(np.where(weight > 0, rows[name], 0), weights=weight))
        for name, weight in weights.items() if weight.any()
    }  # fmt: skip
