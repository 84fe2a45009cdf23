"""The log of a run: console lines, metrics.jsonl, TensorBoard, a progress bar, and the table of parameters."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from hmr_jax.io import atomic
from hmr_jax.models.parameters import Params


class RunLogger:
    """Writes scalars of process 0 to the console, `metrics.jsonl` and, if tensorboardX is installed, TensorBoard."""

    def __init__(self, run: Path, steps: int):
        """Args:
        run: the run's folder.
        steps: number of steps of the whole run.
        """
        self._main = jax.process_index() == 0
        self._run, self._steps = run, steps
        self._file: Any = None
        self._board: Any = None
        self._bar: Any = None

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self._bar, self._file, self._board):
            if opened is not None:
                opened.close()

    def start(self, step: int) -> None:
        """Opens the log at the first step; a resumed run loses the rows after it."""
        self._bar = tqdm(total=self._steps, initial=step, disable=not (self._main and sys.stderr.isatty()), unit="step")
        if not self._main:
            return
        _drop_rows_after(self._run / "metrics.jsonl", step)
        self._file = (self._run / "metrics.jsonl").open("a")
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(self._run / "tensorboard"), purge_step=step)

    def write(self, step: int, scalars: dict[str, float], prefix: str = "train") -> None:
        """Writes one row of scalars."""
        if not self._main:
            return
        row = {"step": step, "time": round(time.time(), 3)}
        row |= {f"{prefix}/{name}": float(f"{value:.6g}") for name, value in scalars.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(f"{prefix}/{name}", value, step)
        text = "  ".join(f"{name} {value:.4g}" for name, value in scalars.items())
        self.say(f"[{step}/{self._steps}] {prefix}  {text}")

    def say(self, text: str) -> None:
        """Prints a line on the console of process 0, above the progress bar."""
        if self._main:
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        self._bar.update()


def _drop_rows_after(path: Path, step: int) -> None:
    """Removes the rows after a step: a resumed run repeats the steps after its checkpoint."""
    if path.exists():
        rows = [line for line in path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in rows if json.loads(line)["step"] <= step]
        atomic.write_text(path, "".join(line + "\n" for line in kept))


def parameter_table(trained: Params, frozen: Params) -> str:
    """Top-level groups with their number of parameters and size in MiB, as text."""
    lines = [f"{'group':<12}{'parameters':>14}{'MiB':>9}  trained"]
    for groups, label in ((trained, "yes"), (frozen, "no")):
        for name, group in groups.items():
            leaves = jax.tree.leaves(group)
            count = sum(int(np.prod(leaf.shape)) for leaf in leaves)
            size = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves) / 2**20
            lines.append(f"{name:<12}{count:>14,}{size:>9.1f}  {label}")
    return "\n".join(lines)
