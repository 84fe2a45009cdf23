"""One result of an evaluation with its model and data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmr_jax.batch import BatchSource
from hmr_jax.body import Bodies
from hmr_jax.config import Config
from hmr_jax.evaluation.results import Evaluation


@dataclass(frozen=True)
class Outcome:
    """One result, and what a report needs to predict single samples again; None for predictions from a file."""

    name: str
    path: Path
    result: Evaluation
    source: BatchSource | None = None
    config: Config | None = None
    params: Any = None
    bodies: Bodies | None = None
