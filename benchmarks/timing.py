"""Times two ways to do the same thing side by side, so that other jobs on the machine slow both alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import torch


@dataclass
class Comparison:
    """One line of a table: median wall-clock milliseconds, and medians over the rounds of the ratios ours / other."""

    case: str
    ours: float
    other: float
    ratio: float
    """Of wall-clock times."""
    processor_ratio: float
    """Of processor times, summed over threads: steadier where other jobs take the cores away."""
    required: float
    """The ratio of wall-clock times must not exceed this."""

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
    repeats = [max(1, round(seconds / _warm_up(call))) for call in (ours, other)]
    times = np.empty((rounds, 2, 2))  # round, ours or other, wall or processor
    for turn in times:
        for which, (call, count) in enumerate(zip((ours, other), repeats, strict=True)):
            time.sleep(0.02)  # idle threads of the one before stop spinning
            turn[which] = _seconds(call, count)
    milliseconds = 1e3 * np.median(times[..., 0], 0)
    ratios = np.median(times[:, 0] / times[:, 1], 0)
    return Comparison(case, *milliseconds, *ratios, required)


def show(title: str, other: str, lines: list[Comparison]) -> None:
    """Prints a part's table."""
    print(f"\n{title}\n{'':34} {'ours ms':>9} {other + ' ms':>19} {'ours/other':>11} {'at most':>8} {'processor':>10}")
    for line in lines:
        times = f"{line.case:34} {line.ours:9.1f} {line.other:19.1f}"
        verdict = "" if line.met else "  too slow"
        print(f"{times} {line.ratio:11.2f} {line.required:8.2f} {line.processor_ratio:10.2f}{verdict}", flush=True)


def _warm_up(call: Callable) -> float:
    """Wall-clock seconds of a call, the least of three, or of fewer where they are long."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < 5:
        times.append(_seconds(call)[0])
    return min(times)


def _seconds(call: Callable, count: int = 1) -> tuple[float, float]:
    """Wall-clock and processor seconds of one call, the mean of `count`."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        result = call()
        if not isinstance(result, torch.Tensor):
            jax.block_until_ready(result)
    return (time.perf_counter() - wall) / count, (time.process_time() - processor) / count
