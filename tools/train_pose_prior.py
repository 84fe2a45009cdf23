"""Rebuild hmr_jax/assets/pose_prior.npz, the prior over poses with which bodies are fitted to keypoints.

    python -m tools.train_pose_prior

A flow learns the poses of the generator's prior, `data_pipelines.synthetic.poses`, as rotation vectors. They are
whitened first, and blurred a little, as some of their numbers never vary. Takes about five minutes on two cores.

Shapes: N poses, D = 69 numbers of a pose, L couplings, F width of a hidden layer.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic.poses import PosePrior
from hmr_jax import cli
from hmr_jax.body import load_body_model
from hmr_jax.io.atomic import write_npz
from hmr_jax.ops.couplings import to_normal

ASSET = Path(__file__).parents[1] / "hmr_jax" / "assets" / "pose_prior.npz"
SEED = 99
BLUR = 0.03
"""Radians of noise on the poses."""
BEYOND = 0.1
"""Radians by which poses may exceed all but one in a thousand of those drawn."""
BATCH = 512
HELD_BACK = 4096


def draw_poses(count: int) -> np.ndarray:
    """(N, D) rotation vectors of all joints but the first."""
    body = load_body_model("default")
    rest = np.asarray(body.joint_regressor) @ np.asarray(body.v_template)
    prior = PosePrior(rest.astype(float), body.parents)
    blocks = [np.arange(start, start + 1024) for start in range(0, count, 1024)]
    poses = [prior.sample(Draws(SEED, block, "natural")).pose[:, 1:] for block in blocks]
    return np.concatenate(poses).reshape(-1, 69).astype(np.float32)


def halves(couplings: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(L, D) masks: pairs of a random half of the coordinates and the others."""
    masks = np.zeros((couplings, size), np.float32)
    for number in range(0, couplings, 2):
        masks[number, rng.permutation(size)[: size // 2]] = 1
        masks[number + 1] = 1 - masks[number]
    return masks


def initial_layers(couplings: int, size: int, hidden: int, rng: np.random.Generator) -> list:
    """Kernels and biases of `ops.couplings`; the last are 0, so that the flow starts as the identity."""

    def dense(*shape: int) -> np.ndarray:
        limit = np.sqrt(6 / sum(shape)) if shape[-1] == hidden else 0.0
        return rng.uniform(-limit, limit, (couplings, 2, *shape)).astype(np.float32)

    widths = [(size, hidden), (hidden, hidden), (hidden, size)]
    return [(dense(*width), np.zeros((couplings, 2, width[1]), np.float32)) for width in widths]


def train(whitened: np.ndarray, held_back: np.ndarray, masks: np.ndarray, layers: list, steps: int) -> list:
    """Layers with which the poses are likely; prints the mean log-density of those held back."""
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    rng = np.random.default_rng(1)

    def log_density(layers: list, poses: jax.Array) -> jax.Array:
        numbers, log_det = to_normal(poses, masks, layers)
        return jnp.mean(log_det - 0.5 * jnp.sum(numbers**2, -1))

    @jax.jit
    def step(layers: list, state: optax.OptState, poses: jax.Array) -> tuple[list, optax.OptState]:
        gradients = jax.grad(lambda layers: -log_density(layers, poses))(layers)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(layers, updates), state

    measure = jax.jit(log_density)
    state = optimizer.init(layers)
    for number in range(steps + 1):
        if number % 1000 == 0:
            print(f"step {number:>6}  {measure(layers, held_back):.2f} nats", flush=True)
        layers, state = step(layers, state, whitened[rng.integers(0, len(whitened), BATCH)])
    return layers


def main(steps: int = 10_000, couplings: int = 8, hidden: int = 64, poses: int = 262_144, out: Path = ASSET) -> None:
    """Trains the prior over poses that comes with hmr_jax.

    Args:
        steps: of the optimiser.
        couplings: of the flow, an even number.
        hidden: width of its hidden layers.
        poses: that are drawn.
        out: file of the prior.
    """
    start = time.time()
    rng = np.random.default_rng(0)
    drawn = draw_poses(poses)
    low, high = np.quantile(drawn, [0.001, 0.999], axis=0)
    blurred = drawn + rng.normal(0, BLUR, drawn.shape).astype(np.float32)
    mean, scale = blurred.mean(0), np.linalg.cholesky(np.cov(blurred.T)).astype(np.float32)
    whitened = np.linalg.solve(scale, (blurred - mean).T).T.astype(np.float32)
    masks = halves(couplings, drawn.shape[1], rng)
    layers = initial_layers(couplings, drawn.shape[1], hidden, rng)
    layers = train(whitened[HELD_BACK:], whitened[:HELD_BACK], masks, layers, steps)
    arrays = {f"{kind}{i}": np.asarray(array, np.float16) for i, layer in enumerate(layers, 1)
              for kind, array in zip(("kernel", "bias"), layer, strict=True)}  # fmt: skip
    arrays |= {"mean": mean, "scale": scale, "masks": masks.astype(bool)}
    arrays |= {"low": (low - BEYOND).reshape(-1, 3), "high": (high + BEYOND).reshape(-1, 3)}
    arrays = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in arrays.items()}
    write_npz(out, arrays)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {time.time() - start:.0f} s")


if __name__ == "__main__":
    cli.run(main, "python -m tools.train_pose_prior")
