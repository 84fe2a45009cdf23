"""Trains a model: python train.py --config configs/quickstart.py [--FIELD VALUE ...]

The same command resumes an interrupted run, and runs on one CPU, one GPU or every process of a pod.
"""

import os
import sys

from hmr_jax import cli, runtime


def main() -> None:
    from data_pipelines.sources import make_source
    from hmr_jax import distributed
    from hmr_jax.training.loop import train

    runtime.set_up()
    config = cli.parse_config(sys.argv[1:], "train.py")
    distributed.initialize()
    batches = make_source(config, "train")
    validation = make_source(config, "validation", examples=config.eval_examples or None)
    window = os.environ.get("HMR_JAX_PROFILE")  # "FIRST:LAST", steps of a profiler trace
    profile = (int(window.split(":")[0]), int(window.split(":")[1])) if window else None
    run = train(config, batches, validation, profile)
    print(f"Done: {run}")


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
