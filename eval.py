"""Evaluates a checkpoint: python eval.py --checkpoint runs/quickstart [--split test] [--output result.json]"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal

import tyro

from hmr_jax import cli


def main(
    checkpoint: Path,
    split: Literal["train", "validation", "test"] = "test",
    data: str = "",
    examples: int = 0,
    batch_size: int = 32,
    output: Path | None = None,
) -> None:
    """Scores a checkpoint on a split, beside the mean body of the same samples.

    Args:
        checkpoint: a run's folder, one of its checkpoints, or an exported folder.
        split: which split.
        data: folder of the TFDS data sets, or "synthetic" for people made on the fly; by default the checkpoint's.
        examples: how many samples; 0: all of the split (synthetic: 1000).
        batch_size: samples at a time.
        output: where the result goes as JSON; by default beside the checkpoint.
    """
    from data_pipelines.sources import make_source
    from hmr_jax import __version__, evaluate, parallel
    from hmr_jax.checkpoint import describe, load_for_inference, write_json
    from hmr_jax.models import build_model

    cli.set_up()
    parallel.initialize()
    config, params = load_for_inference(checkpoint)
    source = {"": config.data.source, "synthetic": "synthetic"}.get(data, "records")
    settings = dataclasses.replace(config.data, source=source, directory=data or config.data.directory)
    config = dataclasses.replace(config, data=settings, batch_size=batch_size)
    batches = make_source(config, split, examples=examples or (1000 if source == "synthetic" else None))

    start = time.perf_counter()
    result = evaluate.evaluate(build_model(config.model), params, batches(0), baseline=True, progress=True)
    print(evaluate.table(result))
    output = output or Path(checkpoint) / f"evaluation_{split}.json"
    write_json(
        output,
        {
            "metrics": result.metrics,
            "baseline": result.baseline,
            "per_joint": result.per_joint,
            "samples": result.count,
            "split": split,
            "checkpoint": describe(checkpoint),
            "config": json.loads(json.dumps(dataclasses.asdict(config))),
            "version": __version__,
            "seconds": round(time.perf_counter() - start, 1),
        },
    )
    print(f"written: {output}")


if __name__ == "__main__":
    with cli.one_line_errors():
        tyro.cli(main)
