"""Bilinear sampling with both gradients beside PyTorch's grid_sample: `python -m benchmarks.sampling`.

Shapes: B batch, H and W the map, C channels, G groups, N points.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.ops import sample_points

BATCH, HEIGHT, WIDTH, CHANNELS, POINTS = 8, 16, 12, 1280, 192
REQUIRED = {1: 1 / 2, 8: 1 / 1.2}
"""Groups of channels -> largest ratio to PyTorch's time."""


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu()  # as train.py does
    show("sample_points, forward and backward", "grid_sample", [measure(groups) for groups in REQUIRED])


def measure(groups: int) -> Comparison:
    """Compares forward and backward passes after checking that they agree."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((BATCH, HEIGHT, WIDTH, CHANNELS), np.float32)
    points = rng.uniform(-0.5, [WIDTH - 0.5, HEIGHT - 0.5], (BATCH, groups, POINTS, 2)).astype(np.float32)
    cotangent = rng.standard_normal((BATCH, POINTS, CHANNELS), np.float32)

    # PyTorch gets its own layout: (B G, C / G, H, W) features and (B G, 1, N, 2) points in [-1, 1].
    def channels_first(x: np.ndarray) -> torch.Tensor:
        x = np.moveaxis(x.reshape(BATCH, -1, groups, CHANNELS // groups), 1, -1)
        return torch.tensor(np.ascontiguousarray(x).reshape(BATCH * groups, CHANNELS // groups, -1))

    maps = channels_first(features).unflatten(-1, (HEIGHT, WIDTH)).requires_grad_()
    scaled = 2 * points.reshape(-1, 1, POINTS, 2) / np.array([WIDTH - 1, HEIGHT - 1]) - 1
    grid = torch.tensor(scaled.astype(np.float32)).requires_grad_()
    direction = channels_first(cotangent)[:, :, None]

    def other() -> torch.Tensor:
        maps.grad = grid.grad = None
        sampled = torch.nn.functional.grid_sample(maps, grid, padding_mode="zeros", align_corners=True)
        sampled.backward(direction)
        return sampled

    @jax.jit
    def step(features, points, cotangent):
        sampled, backward = jax.vjp(sample_points, features, points)
        return sampled, *backward(cotangent)

    arrays = [jnp.asarray(x) for x in (features, points, cotangent)]
    sampled, grad_features, grad_points = step(*arrays)
    theirs = other().detach().numpy()
    extent = np.array([WIDTH - 1, HEIGHT - 1]) / 2  # d (point in pixels) / d (point in [-1, 1])
    for mine, reference in (
        (channels_first(np.asarray(sampled)).numpy(), theirs[:, :, 0]),
        (channels_first(np.asarray(grad_features)).numpy(), maps.grad.flatten(2).numpy()),
        (grad_points * extent, grid.grad.numpy().reshape(grad_points.shape)),
    ):
        np.testing.assert_allclose(mine, reference, atol=1e-4 * np.abs(reference).max())
    return compare(f"{groups} group(s)", lambda: step(*arrays), other, REQUIRED[groups])


if __name__ == "__main__":
    main()
