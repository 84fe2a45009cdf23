"""Bodies per second of fitting SMPL parameters to skins, and how near they come: `python -m benchmarks.fitting`."""

import time

import jax
import numpy as np

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax.body import load_body_model, skin
from hmr_jax.body.fitting import fit_body
from hmr_jax.geometry import axis_angle_to_matrix

BODIES = 128
NOISES = (0.0, 2.0, 5.0)
"""Standard deviation of the skin's noise along each axis, mm."""


def main() -> None:
    """Prints a line for each amount of noise."""
    body = load_body_model()
    people = SyntheticPeople(body, size=32).batch(np.arange(BODIES))
    rotations = axis_angle_to_matrix(people["pose"])
    vertices = np.asarray(jax.jit(skin)(body, people["betas"], rotations, people["translation"]).vertices)
    print(
        f"{'noise, mm':>10} {'bodies/s':>9} {'bodies/s/core':>14} {'mean error, mm':>15} {'from the true skin, mm':>23}"
    )
    for noise in NOISES:
        target = vertices + np.random.default_rng(0).normal(0, noise / 1000, vertices.shape)
        fit_body(body, target[:32])
        wall, core = time.perf_counter(), time.process_time()
        fit = fit_body(body, target)
        wall, core = time.perf_counter() - wall, time.process_time() - core
        placed = np.asarray(jax.jit(skin)(body, fit.betas, fit.rotations, fit.translation).vertices)
        off = 1000 * np.linalg.norm(placed - vertices, axis=-1).mean()
        print(f"{noise:>10} {BODIES / wall:>9.1f} {BODIES / core:>14.1f} {fit.mean_error.mean():>15.4f} {off:>23.4f}")


if __name__ == "__main__":
    main()
