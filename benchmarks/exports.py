"""Exported networks beside their checkpoint: sizes, and milliseconds a crop: `python -m benchmarks.exports`.

All formats run in turn in one process, a round after another, so that other jobs on the machine slow all of them.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from hmr_commands.saved_model import FORMATS
from hmr_jax import runtime
from hmr_jax.export import export_network, load_network
from hmr_jax.export.parity import sample_inputs


def main() -> None:
    """Measures the checkpoint and the formats asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="model")
    parser.add_argument("--to", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    runtime.set_up(inference=True)
    network = load_network(options.checkpoint)
    runs = {"checkpoint": network.reference()}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.to:
            start = time.perf_counter()
            path = export_network(network, name, Path(folder) / name, FORMATS).path
            files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            size = sum(one.stat().st_size for one in files) / 1e6
            print(f"{name}: {size:.1f} MB, written and compared in {time.perf_counter() - start:.0f} s", flush=True)
            runs[name] = FORMATS[name].load(path)
        for size in options.batch_sizes:
            inputs = sample_inputs(network, size)
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(options.rounds + 1):
                for name, run in runs.items():
                    start = time.perf_counter()
                    jax.block_until_ready(run(inputs))
                    times[name].append(1e3 * (time.perf_counter() - start) / size)
            row = ", ".join(f"{name} {min(each[1:]):.1f} to {np.median(each[1:]):.1f}" for name, each in times.items())
            print(f"batch {size}, ms a crop, fastest to median: {row}", flush=True)


if __name__ == "__main__":
    main()
