"""`eval.py --report DIR`: a page with tables, charts and images of the results, and a LaTeX table.

Shapes: N samples, K keypoints.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmr_jax import __version__
from hmr_jax.evaluation.cases import case_images
from hmr_jax.evaluation.outcome import Outcome
from hmr_jax.evaluation.results import Evaluation
from hmr_jax.evaluation.statistics import rank_correlation
from hmr_jax.evaluation.tables import best, latex_table, warnings_of
from hmr_jax.io import atomic
from hmr_jax.protocols import METRICS, Protocol
from hmr_jax.protocols.published import published_rows
from hmr_jax.rendering.charts import bar_chart, line_chart
from hmr_jax.rendering.page import Block, Charts, Gallery, Numbers, Table, Text, write_report

BINS = 40  # of a histogram, at most
GROUPS = 8  # of samples, by a condition
COMPARED = ("pa_mpjpe", "mpjpe", "pve", "pck")  # metrics of published rows
_CONDITIONS = {
    "occlusion": "share of keypoints without a label",
    "truncation": "share of the person's box beyond the image",
    "viewpoint": "seen from, degrees (0 front, 90 its right)",
}


def write_evaluation_report(folder: Path, outcomes: Sequence[Outcome]) -> Path:
    """Writes index.html and results.tex.

    Args:
        folder: created if needed.
        outcomes: results; those without a protocol are left out.

    Returns:
        The path of index.html.

    Raises:
        ValueError: if no result has a protocol.
    """
    scored = [outcome for outcome in outcomes if outcome.result.protocol is not None]
    if not scored:
        raise ValueError("There is nothing to report: no result was scored under a protocol.")
    blocks: list[Block] = [Numbers(_headline(scored[0].result))]
    warnings = [f"{outcome.name}: {text}" for outcome in scored for text in warnings_of(outcome.result)]
    if warnings:
        blocks.append(Text("Read this first", "\n\n".join(warnings)))
    protocols = {outcome.result.protocol.name: outcome.result.protocol for outcome in scored if outcome.result.protocol}
    for protocol in protocols.values():
        mine = [outcome for outcome in scored if outcome.result.protocol == protocol]
        blocks.append(comparison_block(protocol, mine))
    for outcome in scored:
        blocks += _details(outcome)
    folder.mkdir(parents=True, exist_ok=True)
    tex = "\n".join(
        latex_of(protocol, [outcome for outcome in scored if outcome.result.protocol == protocol])
        for protocol in protocols.values()
    )
    atomic.write_text(folder / "results.tex", tex)
    names = ", ".join(dict.fromkeys(outcome.name for outcome in scored))
    return write_report(
        folder / "index.html",
        f"Evaluation: {names}",
        blocks,
        summary=f"Scored under {', '.join(protocols)}. Intervals are 95 %, by bootstrap over sequences.",
        footer=f"hmr_jax {__version__}; results.tex holds the tables for a paper.",
    )


def comparison_block(protocol: Protocol, outcomes: Sequence[Outcome]) -> Table:
    """Our results above the published rows of the protocol."""
    names = [name for name in protocol.metrics if any(name in outcome.result.metrics for outcome in outcomes)]
    rows: list[list] = []
    for outcome in outcomes:
        result = outcome.result
        rows.append([f"{outcome.name} (this run)", *(_with_interval(result, name) for name in names), _samples(result)])
    for row in published_rows(protocol):
        values = [getattr(row, name, None) if name in COMPARED else None for name in names]
        source = row.source + (f"; {row.note}" if row.note else "")
        rows.append([row.method, *("" if value is None else f"{value:g}" for value in values), source])
    note = f"{protocol.source}. {protocol.note}"
    if published_rows(protocol):
        note += (
            " Published rows are on the same data, but their sources do not state every choice (root, boxes, flip "
            "test, training on this data set): differences of a few millimetres have no meaning."
        )
    header = ["method", *(f"{protocol.label(name)}, {protocol.unit(name)}" for name in names), "samples or source"]
    return Table(f"{protocol.name}: {len(protocol.joints)} points, root {protocol.root_name}", header, rows, note)


def latex_of(protocol: Protocol, outcomes: Sequence[Outcome]) -> str:
    """The same as a LaTeX table; the best of several results has an asterisk."""
    names = [name for name in protocol.metrics if any(name in outcome.result.metrics for outcome in outcomes)]
    tops = {name: best(name, [o.result.metrics[name] for o in outcomes if name in o.result.metrics]) for name in names}
    rows = [
        [row.method, *("--" if (v := getattr(row, n, None) if n in COMPARED else None) is None else f"{v:.1f}"
                       for n in names)]
        for row in published_rows(protocol)
    ]  # fmt: skip
    for outcome in outcomes:
        values = outcome.result.metrics
        cells = []
        for name in names:
            star = "*" if len(outcomes) > 1 and values.get(name) == tops[name] else ""
            cells.append(f"{values[name]:.1f}{star}" if name in values else "--")
        rows.append([outcome.name, *cells])
    counts = ", ".join(f"{outcome.name} {_samples(outcome.result)}" for outcome in outcomes)
    caption = f"Protocol {protocol.name} ({len(protocol.joints)} points, root {protocol.root_name}). Samples: {counts}."
    return latex_table(["method", *(protocol.label(name) for name in names)], rows, caption)


def condition_curve(errors: np.ndarray, condition: np.ndarray) -> tuple[list[float], list[float]] | None:
    """Mean error in groups of the condition: (middles, means); None if the condition hardly varies.

    Groups are equally wide. Those of fewer than five samples are left out, as their mean is noise.
    """
    known = np.isfinite(condition) & np.isfinite(errors)
    if known.sum() < 10 or np.ptp(condition[known]) < 1e-6:
        return None
    edges = np.linspace(condition[known].min(), condition[known].max(), GROUPS + 1)
    number = np.clip(np.digitize(condition[known], edges) - 1, 0, GROUPS - 1)
    counts = np.bincount(number, minlength=GROUPS)
    means = np.bincount(number, errors[known], GROUPS) / np.maximum(counts, 1)
    middles = (edges[:-1] + edges[1:]) / 2
    return middles[counts >= 5].tolist(), means[counts >= 5].tolist()


def calibration(sigma: np.ndarray, errors: np.ndarray) -> tuple[float, dict[str, tuple[list, list]]]:
    """Compares predicted errors with true ones.

    Args:
        sigma: (N, K) predicted errors, mm.
        errors: (N, K) true ones, mm; NaN where unknown.

    Returns:
        Spearman's correlation over all points; and two curves: "coverage" (percentage of errors below k times sigma,
        against k) and "reliability" (mean error of tenths of the points by sigma, against their mean sigma).
    """
    known = np.isfinite(sigma) & np.isfinite(errors)
    sigma, errors = sigma[known], errors[known]
    factors = np.linspace(0, 4, 41)
    shares = np.searchsorted(np.sort(errors / np.maximum(sigma, 1e-9)), factors, side="right") / max(len(errors), 1)
    tenths = np.array_split(np.argsort(sigma), min(10, max(len(sigma), 1)))
    tenths = [part for part in tenths if len(part)]
    return rank_correlation(sigma, errors), {
        "coverage": (factors.tolist(), (100 * shares).tolist()),
        "reliability": ([float(sigma[p].mean()) for p in tenths], [float(errors[p].mean()) for p in tenths]),
    }


def _details(outcome: Outcome) -> list[Block]:
    result = outcome.result
    protocol = result.protocol
    assert protocol is not None
    rows = result.per_sample
    title = f"{outcome.name}, {protocol.name}"
    shown: list[str] = [name for name in ("mpjpe", "pa_mpjpe", "pve") if name in rows]
    shown = shown or [name for name in protocol.metrics if name in rows]
    blocks: list[Block] = []
    histograms = {METRICS[name].label: _histogram(rows[name]) for name in shown}
    blocks.append(Charts(f"{title}: errors", [
        ("samples by error", line_chart(histograms, protocol.unit(shown[0]))),
        ("mean error of each point", bar_chart(result.per_joint, "mm" if protocol.space == "3d" else "")),
    ]))  # fmt: skip
    curves = []
    for name, description in _CONDITIONS.items():
        lines = {METRICS[m].label: curve for m in shown[:2] if (curve := condition_curve(rows[m], rows[name]))}
        if lines:
            curves.append((f"{description}; mean error, {protocol.unit(shown[0])}", line_chart(lines, name)))
    if curves:
        blocks.append(Charts(f"{title}: what makes a sample hard", curves))
    for kind, tables in result.groups.items():
        name = shown[0]
        worst = sorted(tables.get(name, {}).items(), key=lambda item: -item[1])[:30]
        header = [kind, f"{protocol.label(name)}, {protocol.unit(name)}"]
        blocks.append(Table(f"{title}: by {kind}, the worst first", header, worst))
    if "sigma" in rows:
        correlation, curves_of = calibration(rows["sigma"], rows["sigma_error"])
        ideal = ([0.0, max(curves_of["reliability"][0])],) * 2
        blocks.append(Charts(f"{title}: calibration of sigma", [
            ("errors below k sigma, %", line_chart({"coverage": curves_of["coverage"]}, "k")),
            ("mean error against sigma, mm", line_chart(
                {"measured": curves_of["reliability"], "ideal": ideal}, "sigma, mm")),
        ], f"Rank correlation of sigma with the error of each keypoint: {correlation:.3f}."))  # fmt: skip
    images = case_images(outcome, shown[0])
    if images:
        blocks.append(Gallery(f"{title}: median and worst people (blue: prediction, orange: truth)", images, wide=True))
    return blocks


def _histogram(errors: np.ndarray) -> tuple[list[float], list[float]]:
    errors = errors[np.isfinite(errors)]
    bins = int(np.clip(1.5 * len(errors) ** 0.5, 5, BINS))
    counts, edges = np.histogram(errors, bins, (0, max(float(np.quantile(errors, 0.995)), 1e-6)))
    return ((edges[:-1] + edges[1:]) / 2).tolist(), counts.tolist()


def _headline(result: Evaluation) -> dict[str, str]:
    protocol = result.protocol
    assert protocol is not None
    shown = list(result.metrics.items())[:4]
    numbers = {protocol.label(name): f"{value:.1f} {protocol.unit(name)}" for name, value in shown}
    return numbers | {"samples": _samples(result)}


def _with_interval(result: Evaluation, name: str) -> str:
    if name not in result.metrics:
        return ""
    interval = result.intervals.get(name)
    return f"{result.metrics[name]:.1f}" + (f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else "")


def _samples(result: Evaluation) -> str:
    expected = result.protocol.expected if result.protocol else None
    if expected is None or expected == result.count:
        return f"{result.count:,}"
    return f"!!! {result.count:,} of {expected:,}"
