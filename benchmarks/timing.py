"""Times two ways to do the same thing side by side, so that other jobs on the machine slow both alike."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import torch


@dataclass
class Comparison:
    """One line of a table: medians in milliseconds, and the median over the rounds of ours / other."""

    case: str
    ours: float
    other: float
    ratio: float
    required: float
    """The ratio must not exceed this."""

    @property
    def met(self) -> bool:
        return self.ratio <= self.required


def compare(
    case: str, ours: Callable, other: Callable, required: float, rounds: int = 15, seconds: float = 0.15
) -> Comparison:
    """Runs A B A B ... after a warm-up.

    Args:
        case: name of the line.
        ours: call without arguments that returns arrays; they are waited for.
        other: the same, of JAX or torch.
        required: largest allowed ratio of the times, ours / other.
        rounds: how many times each is measured.
        seconds: length of one measurement at least; quick calls are repeated in it.

    Returns:
        The line of the table.
    """
    repeats = [max(1, round(seconds / min(_seconds(call) for _ in range(3)))) for call in (ours, other)]
    times = []
    for _ in range(rounds):
        pair = []
        for call, count in zip((ours, other), repeats, strict=True):
            time.sleep(0.02)  # idle threads of the one before stop spinning
            pair.append(_seconds(call, count) / count)
        times.append(pair)
    a, b = zip(*times, strict=True)
    ratio = statistics.median(x / y for x, y in times)
    return Comparison(case, 1e3 * statistics.median(a), 1e3 * statistics.median(b), ratio, required)


def show(title: str, other: str, lines: list[Comparison]) -> None:
    """Prints a part's table."""
    print(f"\n{title}\n{'':34} {'ours ms':>9} {other + ' ms':>16} {'ours / other':>13} {'at most':>8}")
    for line in lines:
        verdict = "" if line.met else "  too slow"
        print(f"{line.case:34} {line.ours:9.1f} {line.other:16.1f} {line.ratio:13.2f} {line.required:8.2f}{verdict}")


def _seconds(call: Callable, count: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(count):
        result = call()
        if not isinstance(result, torch.Tensor):
            jax.block_until_ready(result)
    return time.perf_counter() - start
