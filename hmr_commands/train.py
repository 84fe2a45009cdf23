"""Trains a model. The same command resumes an interrupted run, on one CPU, one GPU or every process of a pod."""

import os

from hmr_jax import runtime
from hmr_jax.config import Config


def main(config: Config) -> None:
    """Trains, and prints the folder of the run; HMR_JAX_PROFILE=FIRST:LAST traces these steps with jax's profiler.

    Args:
        config: the experiment.
    """
    from data_pipelines.sources import make_source
    from hmr_jax import distributed
    from hmr_jax.training.loop import train

    runtime.set_up()
    distributed.initialize()
    batches = make_source(config, "train")
    validation = make_source(config, "validation", examples=config.eval_examples or None)
    run = train(config, batches, validation, _profiled_steps(os.environ.get("HMR_JAX_PROFILE", "")))
    print(f"Done: {run}")


def _profiled_steps(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        first, last = map(int, text.split(":"))
    except ValueError:
        raise ValueError(f"HMR_JAX_PROFILE is FIRST:LAST, two steps such as 10:15, not '{text}'.") from None
    return first, last
