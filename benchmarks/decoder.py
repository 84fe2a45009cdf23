"""A training step of the decoder with deformable beside plain cross-attention: `python -m benchmarks.decoder`."""

from collections.abc import Callable

import jax

from benchmarks.timing import Comparison, compare, show
from hmr_jax.config import DecoderConfig
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.heads import MULTI_TOKENS

FEATURES, REQUIRED = (8, 16, 12, 1280), 1.3


def main() -> None:
    """Prints the table."""
    show("Decoder at DeforHMR's size, forward and backward", "plain", [measure()])


def measure() -> Comparison:
    """Compares the two kinds of cross-attention."""
    ours, other = _step(DecoderConfig(attention="deformable")), _step(DecoderConfig(attention="plain"))
    return compare(f"features {FEATURES}", ours, other, REQUIRED, rounds=5)


def _step(config: DecoderConfig) -> Callable:
    decoder = Decoder(config, MULTI_TOKENS)
    features = jax.random.normal(jax.random.key(0), FEATURES)
    params = jax.jit(decoder.init)(jax.random.key(1), features)

    def loss(params, features):
        return (decoder.apply(params, features)[0] ** 2).sum()

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return lambda: gradients(params, features)


if __name__ == "__main__":
    main()
