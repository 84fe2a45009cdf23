"""What a cache of an encoder's features costs and gives: python -m benchmarks.features --config configs/quickstart.py

    python -m benchmarks.features --config configs/deforhmr_paper.py --batch-size 16 --cache.examples 64

Synthetic people, whatever data the configuration names, and random weights. It prints how large an example is on the
disk, and how many images a second the encoder makes features of, the cache gives, and training takes: from features,
and from images as without a cache. What the cache gives was just written, so mostly it comes from memory.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax

from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import cli, runtime
from hmr_jax.batch import Batch
from hmr_jax.config import Config
from hmr_jax.models import build_model
from hmr_jax.models.parameters import Params, init_params, split_params
from hmr_jax.training.feature_cache import cached_source
from hmr_jax.training.step import init_state, make_train_step

BATCHES, STEPS = 4, 6


def main() -> None:
    """Prints a line for each figure."""
    runtime.set_up()
    config = cli.parse_config(sys.argv[1:], "benchmarks.features")
    data = replace(config.data, source="synthetic", datasets=(), evaluation=())
    examples = config.cache.examples or BATCHES * config.batch_size
    count = -(-examples // config.batch_size)
    with tempfile.TemporaryDirectory(prefix="hmr_jax_features_") as folder:
        config = replace(config, data=data, cache=replace(config.cache, examples=examples, directory=folder))
        source = synthetic_source(config, "train", count * config.batch_size)
        with_images = dict(next(source(0)))
        model = build_model(config.model)
        params = jax.device_get(init_params(model, jax.random.key(0), with_images))
        began: list[float] = []  # it says when it begins, after the encoder was compiled
        cached = cached_source(config, source, params, model.dtype, lambda text: began.append(time.perf_counter()))
        filled = count * config.batch_size / (time.perf_counter() - began[0])
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.npy")) / (count * config.batch_size)
        print(f"{config.name}, batch {config.batch_size}, {jax.devices()[0].device_kind}")
        print(f"disk: {size / 2**10:.0f} KiB an example, {2**30 / size:,.0f} examples a GiB")
        print(f"encoder: {filled:.2f} images/s, with the people that are drawn for it", flush=True)
        stream = cached(0)
        next(stream)
        start = time.perf_counter()
        for _ in range(STEPS * count):
            next(stream)
        rate = STEPS * count * config.batch_size / (time.perf_counter() - start)
        print(f"cache: {rate:,.0f} images/s, {rate * size / 2**20:,.0f} MiB/s")
        for name, batch in (("features", dict(next(stream))), ("images", with_images)):
            seconds = _step(config, params, batch)
            print(f"training from {name}: {config.batch_size / seconds:.2f} images/s", flush=True)


def _step(config: Config, params: Params, batch: Batch) -> float:
    """Seconds of a training step, the median."""
    model = build_model(config.model)
    trained, frozen = split_params(params, config.optim.frozen)
    state, frozen = init_state(config, jax.device_put(trained)), jax.device_put(frozen)
    step, batch = jax.jit(make_train_step(config, model), donate_argnums=0), jax.device_put(batch)
    times = []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, frozen, batch))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first one compiles


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
