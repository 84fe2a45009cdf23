"""Evaluation of a model on a finite stream of batches.

Letters: N samples, J evaluation joints.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from hmr_jax import parallel
from hmr_jax.batch import Batch
from hmr_jax.body.joints import EVALUATION_14_OF_44, KEYPOINTS_44, PELVIS_44
from hmr_jax.config import MeshConfig
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models.deforhmr import pose_body
from hmr_jax.optim import Params
from hmr_jax.steps import body_errors, has_body, make_eval_step

JOINT_NAMES = tuple(KEYPOINTS_44[joint] for joint in EVALUATION_14_OF_44)


@dataclass(frozen=True)
class Evaluation:
    """Errors over a data set; millimetres where they are lengths."""

    metrics: dict[str, float]
    """Means over the samples."""
    per_joint: dict[str, float]
    """Mean error of each evaluation joint."""
    per_sample: dict[str, np.ndarray]
    """(N,) of each metric, and "index" (N,)."""
    count: int
    """Samples seen."""
    baseline: dict[str, float]
    """Metrics of predicting one mean body for every sample; empty for a model without a body."""


def evaluate(
    model: Any, params: Params, batches: Iterator[Batch], mesh: Mesh | None = None, baseline: bool = False,
    progress: bool = False,
) -> Evaluation:  # fmt: skip
    """Every valid sample once, in batches of one shape.

    Args:
        model: the network.
        params: all its parameters.
        batches: finite; samples with valid = 0 are padding.
        mesh: devices; by default all of them, data parallel.
        baseline: also score the mean body of the same samples.
        progress: show a progress bar.

    Raises:
        ValueError: if there is no sample, or a prediction is not finite.
    """
    mesh = parallel.make_mesh(MeshConfig()) if mesh is None else mesh
    params = jax.device_put(params, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    step = jax.jit(lambda params, batch: make_eval_step(model)(params, batch)[0])
    rows: list[dict[str, np.ndarray]] = []
    labels: list[dict[str, np.ndarray]] = []
    for batch in tqdm(batches, disable=not progress, unit="batch"):
        errors = jax.device_get(step(params, parallel.to_global(batch, mesh)))
        valid = batch["valid"] > 0
        rows.append({name: value[valid] for name, value in errors.items()} | {"index": batch["index"][valid]})
        if baseline and has_body(model):
            labels.append({name: batch[name][valid] for name in ("pose", "betas", "keypoints_3d")})
    if not rows or not sum(len(row["index"]) for row in rows):
        raise ValueError("There is nothing to evaluate: the data set holds no sample.")
    samples = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    for name, values in samples.items():
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
        if bad.any():
            raise ValueError(f"'{name}' is not finite for samples {samples['index'][bad].tolist()[:20]}.")
    per_joint = samples.pop("per_joint").mean(0).tolist() if "per_joint" in samples else []
    return Evaluation(
        {name: float(values.mean()) for name, values in samples.items() if name != "index"},
        dict(zip(JOINT_NAMES, per_joint, strict=False)),
        samples,
        len(samples["index"]),
        mean_body_errors(model, {k: np.concatenate([r[k] for r in labels]) for k in labels[0]}) if labels else {},
    )


def mean_body_errors(model: Any, labels: dict[str, np.ndarray], chunk: int = 64) -> dict[str, float]:
    """Errors of the best constant body: each joint's mean rotation (the global one too) and the mean betas.

    The means are taken over the very samples that are scored, which makes the baseline slightly stronger than a
    mean of training data.

    Args:
        model: gives the body.
        labels: "pose" (N, 24, 3), "betas" (N, 10), "keypoints_3d" (N, 44, 4).
        chunk: samples at a time.
    """
    rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(labels["pose"])))
    u, _, vt = np.linalg.svd(rotations.mean(0))
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    mean = _body(model, jnp.asarray(u @ vt, jnp.float32)[None], jnp.asarray(labels["betas"].mean(0))[None])

    @jax.jit
    def score(pose, betas, keypoints):
        true = _body(model, axis_angle_to_matrix(pose), betas)
        repeat = lambda x: jnp.broadcast_to(x, (len(pose), *x.shape[1:]))  # noqa: E731
        errors = body_errors(
            repeat(mean.keypoints_3d), repeat(mean.vertices), keypoints[..., :3], true.vertices,
            true.keypoints_3d[:, PELVIS_44],
        )  # fmt: skip
        return {name: errors[name] for name in ("mpjpe", "pa_mpjpe", "pve")}

    parts = [
        jax.device_get(score(*(labels[name][at : at + chunk] for name in ("pose", "betas", "keypoints_3d"))))
        for at in range(0, len(rotations), chunk)
    ]
    return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in parts[0]}


def _body(model: Any, rotations: jax.Array, betas: jax.Array):
    return pose_body(model.body, rotations, betas, jnp.ones((len(betas), 3)), 1.0, vertices=True)


def table(result: Evaluation) -> str:
    """The result as text: metrics beside the baseline, then joints."""
    lines = [f"{result.count} samples", f"{'metric':<16}{'value':>9}{'mean body':>12}{'ratio':>8}"]
    for name, value in result.metrics.items():
        mean = result.baseline.get(name)
        lines.append(f"{name:<16}{value:>9.2f}" + (f"{mean:>12.2f}{value / mean:>8.3f}" if mean else ""))
    lines += [f"  {name:<18}{value:>7.1f}" for name, value in result.per_joint.items()]
    return "\n".join(lines)
