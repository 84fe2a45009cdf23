"""Results as text for a terminal and as a LaTeX table."""

import re
from collections.abc import Sequence

from hmr_jax.evaluation.outcome import Outcome
from hmr_jax.evaluation.plausibility import root_keypoints
from hmr_jax.evaluation.results import Evaluation
from hmr_jax.protocols import METRICS

_SHOWN = 5  # failures named in a warning


def warnings_of(result: Evaluation) -> list[str]:
    """Warnings that a reader of the numbers needs; empty if there are none."""
    warnings = []
    protocol = result.protocol
    if protocol is not None and protocol.expected is not None and result.count != protocol.expected:
        warnings.append(
            f"{result.count:,} samples were scored, but protocol {protocol.name} has {protocol.expected:,}: these "
            "numbers are not comparable with published ones."
        )
    if result.unlabelled:
        lacking = ""
        if protocol is not None and result.rootless:
            lacking = f" {result.rootless:,} of them lack only the root ({root_keypoints(protocol)})."
        warnings.append(f"{result.unlabelled:,} samples have no truth and do not count.{lacking}")
    if protocol is not None and result.genderless:
        warnings.append(
            f"{result.genderless:,} samples have no gender: their truth is the neutral body, not the gendered one of "
            f"protocol {protocol.name}."
        )
    missing = [name for name in protocol.joint_names if name not in result.per_joint] if protocol is not None else []
    if protocol is not None and protocol.space == "3d" and missing:
        warnings.append(
            f"No sample has a label for {', '.join(missing)}: the numbers are over {len(result.per_joint)} points, not "
            f"the {len(protocol.joints)} of protocol {protocol.name}."
        )
    if result.failures:
        named = ", ".join(result.failures[:_SHOWN]) + (", ..." if len(result.failures) > _SHOWN else "")
        warnings.append(
            f"{len(result.failures):,} predictions are missing or not finite ({named}). They count as failures: scored "
            "as if every point lay at the root."
        )
    return warnings


def text_table(result: Evaluation) -> str:
    """Warnings, then metrics with intervals and the mean body's, then errors of single points."""
    protocol = result.protocol
    title = f"{result.count:,} samples" + (f", protocol {protocol.name}: {_choices(result)}" if protocol else "")
    lines = [f"!!! {text}" for text in warnings_of(result)] + [title]
    columns = ["metric", "value", "95 % interval"]
    rows: list[list[str]] = []
    for name, value in result.metrics.items():
        label = f"{protocol.label(name)}, {protocol.unit(name)}" if protocol else name
        low_high = result.intervals.get(name)
        row = [label, f"{value:.2f}", f"{low_high[0]:.2f} .. {low_high[1]:.2f}" if low_high else ""]
        if result.baseline:
            mean = result.baseline.get(name)
            row += [f"{mean:.2f}", f"{value / mean:.3f}"] if mean else ["", ""]
        if result.failures:
            row.append(f"{result.without_failures[name]:.2f}" if name in result.without_failures else "")
        rows.append(row)
    columns += ["mean body", "ratio"] if result.baseline else []
    columns += ["without failures"] if result.failures else []
    lines += align([columns, *rows])
    lines += [f"  {name:<20}{value:>8.1f}" for name, value in result.per_joint.items()]
    return "\n".join(lines)


def summary_table(outcomes: Sequence[Outcome]) -> list[str]:
    """A table with one row per result."""
    metrics = list(dict.fromkeys(name for outcome in outcomes for name in outcome.result.metrics))
    rows = [["result", "protocol", "samples", *metrics]]
    for outcome in outcomes:
        result = outcome.result
        count = f"{result.count:,}"
        if result.protocol and result.protocol.expected not in (None, result.count):
            count = f"!!! {count} of {result.protocol.expected:,}"
        values = [f"{result.metrics[name]:.2f}" if name in result.metrics else "" for name in metrics]
        rows.append([outcome.name, result.protocol.name if result.protocol else "", count, *values])
    return align(rows)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells -> lines with aligned columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A booktabs table; cells are escaped."""
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule",
        " & ".join(map(escape_latex, header)) + r" \\", r"\midrule",
        *(" & ".join(map(escape_latex, row)) + r" \\" for row in rows),
        r"\bottomrule", r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text for LaTeX, with its special characters escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return re.sub(r"[\\~^&%$#_{}]", lambda found: special.get(found[0], "\\" + found[0]), text)


def _choices(result: Evaluation) -> str:
    p = result.protocol
    assert p is not None
    if p.space == "2d":
        return f"{len(p.joints)} keypoints in 2-D"
    truth = f"{p.gender} body" if p.truth == "body" else "labelled points"
    return f"{len(p.joints)} points ({p.regressor}), root {p.root_name}, truth {truth}"


def best(metric: str, values: Sequence[float]) -> float:
    """The best of some values of a metric."""
    return (max if METRICS[metric].higher_is_better else min)(values)
