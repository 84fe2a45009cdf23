"""A configuration's training step without its data: python -m benchmarks.step --config configs/quickstart.py [--FIELD VALUE ...]

Batches of synthetic people stay on the device, whatever data the configuration names; weights are random. On Linux a
line of freed memory given back to the system, as glibc does by default, follows: MALLOC_ARENA_MAX=0 in the environment.
"""

import resource
import statistics
import sys
import time
from dataclasses import replace

import jax

from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import cli
from hmr_jax.models import build_model
from hmr_jax.models.variables import init_weights
from hmr_jax.optim import split_params
from hmr_jax.steps import init_state, make_train_step

BATCHES, STEPS = 2, 16


def main() -> None:
    """Prints the time of the first step and the median of the later ones."""
    cli.set_up()
    config = cli.parse_config(sys.argv[1:], "benchmarks.step")
    config = replace(config, data=replace(config.data, source="synthetic", datasets=(), evaluation=()))
    people = synthetic_source(config, "train", BATCHES * config.batch_size)(0)
    batches = [jax.device_put(dict(next(people))) for _ in range(BATCHES)]
    model = build_model(config.model)
    trained, frozen = split_params(init_weights(model, jax.random.key(0), batches[0]), config.optim.frozen)
    state = init_state(config, trained)
    step = jax.jit(make_train_step(config, model), donate_argnums=0)

    times, faults = [], 0
    for i in range(STEPS):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        state, _ = jax.block_until_ready(step(state, frozen, batches[i % BATCHES]))
        times.append(time.perf_counter() - start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    device = jax.devices()[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    usual = statistics.median(times[2:])
    print(
        f"{config.name}, batch {config.batch_size}, {config.model.dtype}, {device.device_kind}: first step {times[0]:.1f} s, "
        f"then {1e3 * usual:.1f} ms ({config.batch_size / usual:.0f} crops/s); "
        + (f"{peak / 2**30:.1f} GiB of the device" if peak else f"{faults} page faults in the last")
        + f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of the host"
    )


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
