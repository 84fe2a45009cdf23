"""What residual log-likelihood adds to a training step: `python -m benchmarks.rle`.

The step is that of one ResNet-50 with a linear read-out of 14 joints and 431 vertices, the smallest backbone of the
paper's ablation: with HRNet-W64 and two streams the share is smaller still.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import compare, show
from hmr_jax import runtime
from hmr_jax.losses import normalized_error, residual_log_likelihood_loss
from hmr_jax.models.backbones.resnet import ResNet
from hmr_jax.models.flow import RealNVP

BATCH, SIZE, TOKENS, REQUIRED = 2, 224, 14 + 431, 1.03


class Network(nn.Module):
    """Images to points and, with RLE, to the negative log-likelihood of the targets instead of their L1 distance."""

    rle: bool

    @nn.compact
    def __call__(self, images: jax.Array, target: jax.Array) -> jax.Array:
        """(B, H, W, 3), (B, K, 4) -> (B,) losses."""
        features = ResNet(50, name="encoder")(images).mean((1, 2))
        mu, sigma = jnp.split(nn.Dense(TOKENS * 6)(features).reshape(-1, TOKENS, 6), 2, -1)
        if not self.rle:
            return jnp.abs(mu - target[..., :3]).sum((1, 2)) + jnp.abs(sigma).sum((1, 2))
        sigma = 0.5 * nn.sigmoid(sigma) + 1e-4
        log_phi = RealNVP(3, name="flow")(normalized_error(mu, sigma, target))
        return residual_log_likelihood_loss(mu, sigma, target, log_phi)


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu()  # as train.py does
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((BATCH, SIZE, SIZE, 3), np.float32))
    target = jnp.asarray(rng.standard_normal((BATCH, TOKENS, 4), np.float32) ** 2)

    def step(rle: bool) -> Any:
        network = Network(rle)
        shapes: Any = jax.eval_shape(network.init, jax.random.key(0), images, target)
        variables = jax.tree.map(lambda x: jnp.asarray(0.05 * rng.standard_normal(x.shape, np.float32) ** 2), shapes)

        def loss(params: Any, stats: Any, images: jax.Array, target: jax.Array) -> Any:
            return network.apply({"params": params, "batch_stats": stats}, images, target).sum()  # type: ignore[union-attr]

        gradient = jax.jit(jax.grad(loss))
        return lambda: gradient(variables["params"], variables["batch_stats"], images, target)

    line = compare(f"ResNet-50, batch {BATCH}, {TOKENS} tokens", step(True), step(False), REQUIRED, rounds=7)
    show(f"Forward and backward, {SIZE}x{SIZE}, float32", "L1 instead", [line])


if __name__ == "__main__":
    main()
