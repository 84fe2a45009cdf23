"""How long a prediction takes and what of it: `python benchmarks/inference.py --config configs/quickstart.py`.

Prints milliseconds per person for cutting crops, the network with skinning, and the whole call, by batch size, and
per image for the files that results.py writes. Weights are random: they do not change the times.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from hmr_jax import cli, runtime
from hmr_jax.batch import zeros
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.inference import Predictor
from hmr_jax.models import build_model


def main() -> None:
    """Measures the batch sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--people", type=int, default=64)
    options = parser.parse_args()
    runtime.set_up(inference=True)
    config = cli.load_config(options.config)
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    boxes = np.tile([[500.0, 100, 700, 640]], (options.people, 1))
    init = jax.jit(build_model(config.model).init)
    params = init(jax.random.key(0), zeros(1, config.data.crop_size))["params"]

    crop = milliseconds(lambda: extract_crop(image, np.array([600.0, 370]), 648.0, config.data.crop_size))
    print(f"{jax.devices()[0].device_kind}; a crop of 648 px from 1280x720: {crop:.1f} ms")
    for size in options.batch_sizes:
        predictor = Predictor(config, params, size)
        start = time.perf_counter()
        people = predictor(image, boxes[:1])
        first = time.perf_counter() - start
        whole = milliseconds(lambda: predictor(image, boxes), 3) / options.people  # noqa: B023
        print(f"batch {size:3d}: {whole:6.1f} ms a person, {1e3 / whole:6.1f} people/s, first call {first:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        writing = milliseconds(lambda: people.save(folder), 3)
    print(f"all files of one image of 1280x720 with one person: {writing:.0f} ms")


def milliseconds(call: Callable, repeats: int = 20) -> float:
    """Fastest of some calls: what other jobs on the machine add is left out."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


if __name__ == "__main__":
    main()
