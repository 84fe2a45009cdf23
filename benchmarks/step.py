"""A training step without its data: python -m benchmarks.step --config configs/quickstart.py [--FIELD VALUE ...]

Batches of synthetic people stay on the device, whatever data the configuration names; weights are random. With
MALLOC_ARENA_MAX=0 in the environment freed memory goes back to the system, as in programs without `runtime.set_up`.
"""

import resource
import statistics
import sys
import time
from dataclasses import replace

import jax

from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import cli, runtime
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params, split_params
from hmr_jax.training.step import init_state, make_train_step

BATCHES, STEPS = 2, 16


def main() -> None:
    """Prints the time of the first step and the median of the later ones."""
    runtime.set_up()
    config = cli.parse_config(sys.argv[1:], "benchmarks.step")
    config = replace(config, data=replace(config.data, source="synthetic", datasets=(), evaluation=()))
    people = synthetic_source(config, "train", BATCHES * config.batch_size)(0)
    batches = [jax.device_put(dict(next(people))) for _ in range(BATCHES)]
    model = build_model(config.model)
    trained, frozen = split_params(init_params(model, jax.random.key(0), batches[0]), config.optim.frozen)
    state = init_state(config, trained)
    step = jax.jit(make_train_step(config, model), donate_argnums=0)

    times, faults = [], 0
    for i in range(STEPS):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        state, _ = jax.block_until_ready(step(state, frozen, batches[i % BATCHES]))
        times.append(time.perf_counter() - start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    device, usual = jax.devices()[0], statistics.median(times[2:])
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{config.name}, batch {config.batch_size}, {config.model.dtype}, {device.device_kind}:")
    print(f"first step {times[0]:.1f} s, then {1e3 * usual:.1f} ms ({config.batch_size / usual:.0f} crops/s)")
    print(f"{faults} page faults in the last; at most {host:.1f} GiB of the host", end="")
    print(f", {peak / 2**30:.1f} GiB of the device" if peak else "")


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
