"""Whether an exported network gives what the network gives: measured after each export.

The difference of an output is the largest absolute difference of its numbers in a batch, divided by the largest
absolute value that the network itself gives for this output in the same batch.

Pose and shape that are fitted to predicted vertices, D2A-HMR's, have a tolerance of their own: float32 determines the
fit of a posed body's betas to 3e-4, with which two batch sizes of the network itself differ too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hmr_jax.export.network import Network

BATCHES = (1, 3, 8)
"""Sizes of the batches that are compared."""
TOLERANCE = 1e-4
"""Of the difference, relative as above."""
FITTED_TOLERANCE = 1e-3
"""Of outputs in `Network.fitted`, whose differences are divided by 1 where the largest value is smaller."""
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
Parity = dict[str, list[float]]
"""Differences by output, one for each of `BATCHES`."""


def measure(network: Network, run: Run) -> Parity:
    """Compares an exported network with the one it was made of.

    Args:
        network: which was exported.
        run: the exported network, from inputs to outputs by name.

    Raises:
        ValueError: an output is missing, has another shape, or differs by more than is tolerated.
    """
    parity: Parity = {}
    reference = network.reference()
    for size in BATCHES:
        inputs = sample_inputs(network, size)
        found = {name: np.asarray(array) for name, array in run(inputs).items() if array is not None}
        for name, wanted in reference(inputs).items():
            if name not in found or found[name].shape != wanted.shape:
                shape = found[name].shape if name in found else "missing"
                raise ValueError(
                    f"The exported network's '{name}' is {shape}, not {wanted.shape}: nothing was written."
                )
            least = 1.0 if name in network.fitted else 0.0
            parity.setdefault(name, []).append(difference(found[name], wanted, least))
    for name, values in parity.items():
        tolerance = FITTED_TOLERANCE if name in network.fitted else TOLERANCE
        if not max(values) <= tolerance:
            raise ValueError(
                f"The exported network's '{name}' differs from the network's by {max(values):.1e} of its largest "
                f"value, more than {tolerance:.0e}: nothing was written."
            )
    return parity


def difference(found: np.ndarray, wanted: np.ndarray, least: float = 0.0) -> float:
    """Largest absolute difference over the largest absolute value that is wanted; NaN where a number is not finite.

    Args:
        found: any shape.
        wanted: of the same shape.
        least: the smallest divisor.
    """
    scale = max(float(np.abs(wanted).max()), least)
    apart = float(np.abs(np.asarray(found, np.float64) - wanted).max())
    return apart / scale if scale else apart


def sample_inputs(network: Network, size: int) -> dict[str, np.ndarray]:
    """Smooth random crops, the same at each call, as noise of single pixels is like no photograph."""
    rng = np.random.default_rng(size)

    def blurred(shape: tuple[int, ...]) -> np.ndarray:
        side, cells = shape[1], rng.integers(0, 256, (shape[0], 9, 9, *shape[3:])).astype(float)
        place = np.linspace(0, 8, side)
        low = np.minimum(place.astype(int), 7)
        weights = np.zeros((side, 9))
        weights[np.arange(side), low], weights[np.arange(side), low + 1] = 1 - (place - low), place - low
        return np.rint(np.einsum("hi,wj,bij...->bhw...", weights, weights, cells)).astype(np.uint8)

    made: dict[str, np.ndarray] = {}
    for name, taken in network.inputs(size).items():
        made[name] = blurred(taken.shape) if len(taken.shape) > 1 else (np.arange(size) % 2 == 0).astype(np.float32)
    return made


def table(parity: Parity) -> str:
    """Differences as text, a row for each output."""
    rows = [f"{'':<16}" + "".join(f"{f'batch {size}':>10}" for size in BATCHES)]
    rows += [f"{name:<16}" + "".join(f"{value:>10.1e}" for value in values) for name, values in parity.items()]
    return "\n".join(rows)
