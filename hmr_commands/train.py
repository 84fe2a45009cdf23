"""Trains a model. The same command resumes an interrupted run, on one CPU, one GPU or every process of a pod."""

import sys

from hmr_jax import runtime
from hmr_jax.config import Config

STOPPED = 75  # exit status of a run that a signal stopped; EX_TEMPFAIL of sysexits.h: "try again"


def main(config: Config) -> None:
    """Trains, and prints the folder of the run. A run that a signal stopped ends with exit status 75.

    Args:
        config: the experiment.
    """
    from data_pipelines.sources import make_source
    from hmr_jax import distributed
    from hmr_jax.checkpoints import last_step
    from hmr_jax.training.loop import train

    runtime.set_up()
    distributed.initialize()
    batches = make_source(config, "train")
    validation = make_source(config, "validation", examples=config.eval_examples or None) if config.eval_every else None
    run = train(config, batches, validation)
    if last_step(run) < config.steps:
        sys.exit(STOPPED)
    print(f"Done: {run}")
