"""Checkpoints of runs, exported and converted folders, and loading them for inference and training.

A run's folder holds

    config.json            the experiment
    frozen/                parameters that are not trained, written once
    damaged/               checkpoints that could not be read when the run was resumed
    checkpoints/<step>/    items `params` (trained), `train` (optimiser, averages), `config`, `data`
    metrics.jsonl          the log

An exported folder, as the package ships them, holds config.json and params.npz (float16). A converted
one, as `python -m hmr_jax.weights.convert` writes it, holds config.json, params/ and source.json (its origin).
"""

from hmr_jax.checkpoints.exported import SHIPPED_ENCODERS, SHIPPED_MODEL, export, load_shipped_encoder
from hmr_jax.checkpoints.loading import SHIPPED, describe, load_for_inference, load_initial
from hmr_jax.checkpoints.runs import last_step

__all__ = [
    "SHIPPED",
    "SHIPPED_ENCODERS",
    "SHIPPED_MODEL",
    "describe",
    "export",
    "last_step",
    "load_for_inference",
    "load_initial",
    "load_shipped_encoder",
]
