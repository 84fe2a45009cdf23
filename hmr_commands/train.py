"""Trains a model. The same command resumes an interrupted run, on one CPU, one GPU or every process of a pod."""

import sys

from hmr_jax import runtime
from hmr_jax.cli import ConfigFields

STOPPED = 75  # exit status of a run that a signal stopped; EX_TEMPFAIL of sysexits.h: "try again"


def main(config: ConfigFields, coordinator: str = "", process_count: int = 0, process_id: int = -1) -> None:
    """Trains, and prints the folder of the run.

    A run that a signal stopped ends with exit status 75, one that lost another of its processes with 76. The same
    command resumes it.

    Args:
        config: the experiment.
        coordinator: of several processes: host:port at which the first one is reached. SLURM, Open MPI and Cloud TPU
            pods tell, so there none of the three options is needed.
        process_count: of several processes: their number.
        process_id: of several processes: the number of this one, from 0.
    """
    from data_pipelines.sources import make_source
    from hmr_jax import distributed
    from hmr_jax.checkpoints import last_step
    from hmr_jax.training.loop import train

    runtime.set_up()
    distributed.initialize(coordinator, process_count, process_id)
    with distributed.ending_together():
        batches = make_source(config, "train")
        examples = config.eval_examples or None
        validation = make_source(config, "validation", examples=examples) if config.eval_every else None
        run = train(config, batches, validation)
    if last_step(run) < config.steps:
        sys.exit(STOPPED)
    print(f"Done: {run}")
