"""The result of an evaluation: means, intervals and groups from the rows of the samples, and its files.

`NAME.json` holds the summary, `NAME.samples.npz` beside it the rows that a comparison or a report needs.

Shapes: N samples, P evaluated points.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax import __version__, metrics
from hmr_jax.evaluation.fingerprints import hash_samples
from hmr_jax.evaluation.plausibility import check_finite, check_labels, count_rootless
from hmr_jax.evaluation.statistics import bootstrap_interval, group_means, group_names
from hmr_jax.io import atomic
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.io.research_files import plain_arrays
from hmr_jax.protocols import MOTION, Protocol

SCHEMA = 1
_BODY_METRICS = ("pve", "pa_pve")
_ALIGNED = ("pa_mpjpe", "pa_mpjpe_z")
_FEWEST_ALIGNED = 3  # points: a similarity transform takes any one or two exactly to their place
_LABELLED = "labelled/"  # before the name of a metric: whether a sample has its label
# Rows of a network without a body that are not errors. "picture" is the fingerprint of the image.
_OTHER = {"index", "key", "labels", "picture"}
# Rows of `score` that `summarize` reads and no result keeps.
_READ = ("damaged", "extent", "has_root", "pred_points", "true_points", "labelled", "neutral")
_SHARE = "share"  # row of a 2-D protocol: the weight of a sample in its means


@dataclass(frozen=True)
class Evaluation:
    """Errors over a data set; lengths in millimetres."""

    metrics: dict[str, float]
    """Means over the samples."""
    per_joint: dict[str, float]
    """Mean error of each evaluated point."""
    per_sample: dict[str, np.ndarray]
    """(N,) of each metric, NaN where a sample has no label for it; and "index", "key" (N,), "per_joint" (N, P), NaN
    for points without label, conditions and so on."""
    count: int
    """Number of samples."""
    baseline: dict[str, float]
    """Metrics of predicting one mean body for every sample; empty if not requested."""
    protocol: Protocol | None = None
    """How the samples were scored; None for a network without a body."""
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    """95 % interval of each mean, by bootstrap over sequences."""
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """"sequence" and, where there are any, "action" -> metric -> name -> mean."""
    failures: tuple[str, ...] = ()
    """Keys of the samples whose prediction is missing or not finite."""
    without_failures: dict[str, float] = field(default_factory=dict)
    """Means over the other samples; empty without failures."""
    unlabelled: int = 0
    """Number of samples without truth, which do not count."""
    rootless: int = 0
    """Number of those of them that lack only the label of the root."""
    genderless: int = 0
    """Number of samples whose truth is the neutral body although the protocol's is that of the labelled gender."""


def summarize(protocol: Protocol | None, samples: dict[str, np.ndarray], baseline: dict[str, float] | None = None,
              resamples: int = 2000) -> Evaluation:  # fmt: skip
    """Computes the result from the rows of the samples.

    Args:
        protocol: how they were scored.
        samples: as `loop.collect` returns them.
        baseline: metrics of the mean body.
        resamples: number of resamples of the bootstrap.

    Raises:
        ValueError: if a truth, or an error of a network without a body, is not finite; or no sample has a truth.
    """
    if protocol is not None and protocol.select:
        chosen = np.array([bool(re.search(protocol.select, key)) for key in samples["key"].tolist()])
        if not chosen.any():
            raise ValueError(
                f"Protocol {protocol.name} takes the records whose key matches '{protocol.select}', but none of "
                f"{len(chosen):,} does, such as {samples['key'][0]}."
            )
        samples = {name: rows[chosen] for name, rows in samples.items()}
    count = len(samples["index"])
    if protocol is None:
        return Evaluation(_dense_means(samples), {}, samples, count, baseline or {})

    check_labels(protocol, samples)
    has_truth = samples["has_truth"] > 0
    for name in protocol.metrics:
        if name in samples:
            used = has_truth & (samples["has_body"] > 0) if name in _BODY_METRICS else has_truth
            check_finite(name, samples[name][used], samples["key"][used])
    samples = samples | {"sequence": group_names(samples["key"].tolist(), protocol.sequence)}
    if protocol.action:
        samples["action"] = group_names(samples["key"].tolist(), protocol.action)
    samples["per_joint"] = np.where(has_truth[:, None], samples["per_joint"], np.nan)
    if "pred_points" in samples:
        samples |= sequence_accelerations(protocol, samples)
    if protocol.space == "2d":
        samples |= _mean_over_keypoints(protocol, samples)
    rootless = count_rootless(samples)
    genderless = int((has_truth & samples["neutral"]).sum()) if "neutral" in samples else 0
    samples = {name: rows for name, rows in samples.items() if name not in _READ}

    means, intervals, without_failures = {}, {}, {}
    failed = samples["failed"] > 0
    weights = {name: sample_weights(protocol, samples, name) for name in protocol.metrics if name in samples}
    for name, weight in weights.items():
        samples[name] = np.where(weight > 0, samples[name], np.nan)
    weights = {name: weight for name, weight in weights.items() if weight.any()}
    sequence = samples["sequence"]
    for name, weight in weights.items():
        values = np.where(weight > 0, samples[name], 0).astype(np.float64)
        means[name] = float(np.average(values, weights=weight))
        intervals[name] = bootstrap_interval(values, weight, sequence, resamples)
        kept = weight * ~failed
        if failed.any() and kept.any():
            without_failures[name] = float(np.average(values, weights=kept))
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("sequence", "action"):
        if kind in samples and len(np.unique(samples[kind])) < count:
            groups[kind] = {
                name: group_means(np.where(weight > 0, samples[name], 0), weight, samples[kind])
                for name, weight in weights.items()
            }
    seen = np.isfinite(samples["per_joint"])
    joint_means = np.where(seen, samples["per_joint"], 0).sum(0) / np.maximum(seen.sum(0), 1)
    per_joint = {name: float(mean) for name, mean, n in zip(protocol.joint_names, joint_means, seen.sum(0), strict=True)
                 if n}  # fmt: skip
    return Evaluation(
        means, per_joint, samples, count, baseline or {}, protocol, intervals, groups,
        tuple(samples["key"][failed].tolist()), without_failures, int((~has_truth).sum()), rootless, genderless,
    )  # fmt: skip


def sample_weights(protocol: Protocol, samples: dict[str, np.ndarray], metric: str) -> np.ndarray:
    """(N,) weight of each sample in the mean of a metric: 1, or 0 without its label; in 2-D see `summarize`."""
    weight = (samples["has_truth"] > 0).astype(np.float64)
    if metric in _BODY_METRICS:
        weight *= samples["has_body"] > 0
    if metric in _ALIGNED and "points" in samples:
        weight *= samples["points"] >= _FEWEST_ALIGNED
    if metric in MOTION:
        weight *= np.isfinite(samples[metric])
    if metric in ("pck", "auc") and protocol.pck_joints:
        weight *= np.isfinite(samples["per_joint"][:, list(protocol.pck_joints)]).any(1)
    return weight * samples.get(_SHARE, samples["points"]) if protocol.space == "2d" else weight


def sequence_accelerations(protocol: Protocol, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(N,) acceleration error at each frame with neighbours on both sides, else NaN, for each metric of motion.

    The number of a frame is the last number in its key. A metric of which no frame has a value is left out.
    """
    frames = np.array([int(found[-1]) if (found := re.findall(r"\d+", key)) else -1 for key in samples["key"].tolist()])
    usable = np.flatnonzero((samples["has_truth"] > 0) & (frames >= 0))
    if len(usable) < 3:
        return {}
    _, sequence = np.unique(samples["sequence"], return_inverse=True)
    order = usable[np.lexsort((frames[usable], sequence[usable]))]
    # All sequences in one array, so that one shape is compiled; gaps between frame numbers separate them.
    time = frames[order] + sequence[order] * (frames.max() + 3)
    pred, true = (jnp.asarray(samples[side][order]) for side in ("pred_points", "true_points"))
    labelled = jnp.asarray(samples["labelled"][order]) if "labelled" in samples else None
    rows: dict[str, np.ndarray] = {}
    for name in MOTION.keys() & set(protocol.metrics):
        second = protocol.frames_per_second if MOTION[name] else None
        error, counts = metrics.acceleration_error(pred, true, jnp.asarray(time), second, labelled)
        counts = np.array(counts)
        if MOTION[name]:
            changes = np.diff(sequence[order], prepend=-1, append=-1) != 0
            first, last = changes[:-1], changes[1:]
            counts &= ~(first[:-2] | last[2:])  # of three frames, the first or the last one ends the sequence
        errors = np.full(len(frames), np.nan)
        errors[order[1:-1]] = np.where(counts, error, np.nan)
        if np.isfinite(errors).any():
            rows[name] = errors
    return rows


def _mean_over_keypoints(protocol: Protocol, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of a 2-D protocol whose weighted mean is the mean over keypoints of each one's share, as HMR2.0 averages.

    A label weighs as much as all labels of its keypoint together weigh one keypoint.

    Returns:
        (N,) for each metric, the weighted share of the sample's keypoints, and `_SHARE`, the sum of their weights.
    """
    errors = samples["per_joint"]
    seen = np.isfinite(errors)
    weights = seen / np.maximum(seen.sum(0), 1)  # (N, P)
    share = weights.sum(1)
    rows = {_SHARE: share}
    for name in protocol.metrics:
        correct = np.where(seen, errors, np.inf) <= np.float32(getattr(protocol, name))
        rows[name] = 100 * (weights * correct).sum(1) / np.where(share > 0, share, 1)
    return rows


def _dense_means(samples: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean errors of a network without a body, each over the samples that have its label."""
    means = {}
    for name in samples:
        if name in _OTHER or name.startswith(_LABELLED):
            continue
        labelled = samples.get(_LABELLED + name, np.ones(len(samples[name]))) > 0
        check_finite(name, samples[name][labelled], samples["key"][labelled])
        if labelled.any():
            means[name] = float(samples[name][labelled].mean())
    return means


def versions() -> dict[str, str]:
    """Versions of the software, and the devices, that computed the result."""
    import platform

    return {
        "hmr_jax": __version__, "jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}", "processes": str(jax.process_count()),
    }  # fmt: skip


def write_result(path: Path, result: Evaluation, extra: dict[str, Any], hashes: dict[str, str]) -> None:
    """Writes `path` (JSON) and the samples beside it.

    Args:
        path: the JSON file.
        result: the result.
        extra: further entries of the JSON file.
        hashes: further entries of its "hashes".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    protocol = result.protocol
    described = None
    if protocol is not None:
        described = {
            "name": protocol.name, "dataset": protocol.dataset, "split": protocol.split, "root": protocol.root_name,
            "regressor": protocol.regressor, "joints": list(protocol.joint_names), "truth": protocol.truth,
            "gender": protocol.gender, "source": protocol.source,
            "units": {metric: protocol.unit(metric) for metric in result.metrics},
            "thresholds": {m: getattr(protocol, m) for m in ("pck", "pck_tight", "auc") if getattr(protocol, m)},
        }  # fmt: skip
    samples = result.per_sample
    atomic.write_npz(samples_path(path), samples)
    write_json(
        path,
        {
            "schema": SCHEMA,
            "metrics": result.metrics,
            "intervals": result.intervals,
            "baseline": result.baseline,
            "per_joint": result.per_joint,
            "groups": result.groups,
            "protocol": described,
            "samples": result.count,
            "expected": None if protocol is None else protocol.expected,
            "failures": list(result.failures),
            "without_failures": result.without_failures,
            "unlabelled": result.unlabelled,
            "hashes": {what: hash_samples(samples, what) for what in ("labels", "picture")} | hashes,
            "version": __version__,
            "versions": versions(),
        }
        | extra,
    )


def samples_path(path: Path) -> Path:
    """The file with the rows of a result file."""
    return path.with_name(path.stem + ".samples.npz")


def read_result(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A result file and its samples.

    Raises:
        FileNotFoundError: if one of them is missing.
        ValueError: if they are not results of an evaluation.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no result file {path}.")
    summary = read_json(path)
    if not isinstance(summary, dict) or "metrics" not in summary or "hashes" not in summary:
        raise ValueError(f"{path} is not a result of eval.py.")
    beside = samples_path(path)
    if not beside.is_file():
        raise FileNotFoundError(f"{beside} is missing: it holds the samples of {path}.")
    try:
        with beside.open("rb") as file:
            return summary, plain_arrays(file)
    except Exception as error:
        raise ValueError(f"{beside} cannot be read; was it damaged or cut off? ({error})") from error
