"""Comparison of two results on the same samples: paired differences with their uncertainty."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax.evaluation.results import read_result, sample_weights
from hmr_jax.evaluation.statistics import bootstrap_interval, paired_test
from hmr_jax.evaluation.tables import align
from hmr_jax.protocols import METRICS, get_protocol

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """One metric of the results A and B."""

    metric: str
    first: float
    second: float
    """Means of A and B over the same samples."""
    interval: tuple[float, float] | None
    """95 % interval of B - A, by bootstrap over sequences."""
    p_value: float | None
    """Of the sign-flip test over sequences; None for fewer than two sequences."""
    wins: float
    """Share of samples on which B is better; ties count half."""


def compare_results(first: Path, second: Path) -> list[Difference]:
    """B - A for every metric that both result files have.

    Args:
        first: the JSON file of A.
        second: the JSON file of B.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the two differ in protocol, samples or labels, so that their difference has no meaning.
    """
    (a, a_rows), (b, b_rows) = read_result(first), read_result(second)
    for summary, path in ((a, first), (b, second)):
        if summary.get("protocol") is None:
            raise ValueError(f"{path} was not scored under a protocol.")
    if a["protocol"] != b["protocol"]:
        changed = [name for name in a["protocol"] if a["protocol"][name] != b["protocol"].get(name)]
        raise ValueError(
            f"{first} was scored under {a['protocol']['name']} and {second} under {b['protocol']['name']} "
            f"({', '.join(changed)} differ): score both under one protocol."
        )
    _check_same_samples(first, second, a, b, a_rows, b_rows)
    protocol = get_protocol(a["protocol"]["name"])
    groups = a_rows["sequence"]
    found = []
    for name in protocol.metrics:
        if name not in a_rows or name not in b_rows:
            continue
        weights = np.minimum(*(sample_weights(protocol, rows, name) for rows in (a_rows, b_rows)))
        if not weights.any():
            continue
        one, two = (np.where(weights > 0, rows[name], 0).astype(np.float64) for rows in (a_rows, b_rows))
        difference = two - one
        better = np.sign(difference) * (1 if METRICS[name].higher_is_better else -1)
        found.append(
            Difference(
                name, float(np.average(one, weights=weights)), float(np.average(two, weights=weights)),
                bootstrap_interval(difference, weights, groups), paired_test(difference, weights, groups),
                float(np.average((better + 1) / 2, weights=weights)),
            )
        )  # fmt: skip
    return found


def comparison_table(differences: list[Difference]) -> str:
    """The differences as a table of text."""
    rows = [["metric", "A", "B", "B - A", "95 % interval", "p", "B better on", ""]]
    for item in differences:
        interval = f"{item.interval[0]:+.2f} .. {item.interval[1]:+.2f}" if item.interval else "one sequence"
        p_value = "-" if item.p_value is None else f"{item.p_value:.4f}"
        verdict = ""
        if item.p_value is not None:
            verdict = "significant" if item.p_value < SIGNIFICANT else "not significant"
        metric = METRICS[item.metric]
        rows.append([
            f"{metric.label}, {metric.unit}", f"{item.first:.2f}", f"{item.second:.2f}",
            f"{item.second - item.first:+.2f}", interval, p_value, f"{100 * item.wins:.1f} %", verdict,
        ])  # fmt: skip
    return "\n".join(align(rows))


def _check_same_samples(first: Path, second: Path, a: Any, b: Any, a_rows: Any, b_rows: Any) -> None:
    """Raises ValueError unless both results have the same keys, in the same order, with the same labels."""
    one, two = a_rows["key"].tolist(), b_rows["key"].tolist()
    if one != two:
        only = sorted(set(one) ^ set(two))
        raise ValueError(
            f"{first} has {len(one):,} samples and {second} {len(two):,}; {len(only):,} are in one of them only"
            + (f", such as {only[0]}" if only else " and their order differs")
            + ": score both on the same samples."
        )
    if a["hashes"]["labels"] != b["hashes"]["labels"]:
        changed = np.flatnonzero(a_rows["labels"] != b_rows["labels"])
        raise ValueError(
            f"{first} and {second} were scored against different labels of the same keys, such as {one[changed[0]]}."
        )
