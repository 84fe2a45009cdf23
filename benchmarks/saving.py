"""How long a save holds up training: python -m benchmarks.saving --config hmr2 [--FIELD VALUE ...]

The state is that of the configuration, with random numbers. In place of the training step, which would take minutes on
CPUs, a step that changes every array. The checkpoints are written to the configuration's `--output`, whose disk is
measured, and removed.
"""

import resource
import shutil
import sys
import time
from pathlib import Path

import jax

from hmr_jax import cli, distributed, runtime
from hmr_jax.checkpoints import runs
from hmr_jax.training.abstract import abstract_step, bytes_per_device
from hmr_jax.training.step import donated, kept

SAVES = 3


def main() -> None:
    """Prints how long each save held up the loop, and the step after it."""
    runtime.set_up()
    config = cli.parse_config(sys.argv[1:], "benchmarks.saving")
    shapes = abstract_step(config, distributed.make_mesh(config.mesh)).state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    state = jax.tree.map(_noise, shapes)
    step = jax.jit(
        lambda state: jax.tree.map(lambda array: array + 1, state), donate_argnums=donated(), out_shardings=shardings
    )
    seconds = _Stopwatch()
    state = jax.block_until_ready(step(state))
    print(f"{config.name}: {bytes_per_device(shapes) / 2**30:.2f} GiB of a device, {jax.devices()[0].device_kind}")
    run = Path(config.output, f"{config.name}_saving")
    try:
        with runs.open_manager(run, config) as manager:
            for number in range(1, SAVES + 1):
                seconds()
                state = jax.block_until_ready(step(state))
                usual = seconds()
                runs.save(manager, config, number, kept(state).items(), None)
                held_up = seconds()
                state = jax.block_until_ready(step(state))
                after = seconds()
                runs.finish(manager)
                print(
                    f"save {number} held up for {1e3 * held_up:.0f} ms, and was complete after "
                    f"{held_up + after + seconds():.1f} s; a step took {usual:.2f} s, the one after it {after:.2f} s",
                    flush=True,
                )
    finally:
        shutil.rmtree(run, ignore_errors=True)
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of the host")


class _Stopwatch:
    """Seconds since it was last asked."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> float:
        before, self._since = self._since, time.perf_counter()
        return self._since - before


def _noise(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Numbers that cannot be compressed; an array at a time, which needs less memory."""
    made = jax.jit(
        lambda: jax.random.normal(jax.random.key(0, impl="rbg"), leaf.shape).astype(leaf.dtype),
        out_shardings=leaf.sharding,
    )
    return jax.block_until_ready(made())


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
