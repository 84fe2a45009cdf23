"""A training step of the decoder with deformable beside plain cross-attention: `python -m benchmarks.decoder`.

Where each layer has offsets of its own, it multiplies the map with three matrices of a size, for offsets, keys and
values, where plain attention has two: that alone is a third more.
"""

from collections.abc import Callable

import jax

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.config import DecoderConfig
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.heads import MULTI_TOKENS

FEATURES, REQUIRED = (8, 16, 12, 1280), 1.3


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu()  # as train.py does
    show(f"Decoder at DeforHMR's size, features {FEATURES}, forward and backward", "plain", measure())


def measure() -> list[Comparison]:
    """Compares deformable decoders with the one of plain attention."""
    cases = {
        "as configured by default": DecoderConfig(),
        "each layer with its own offsets": DecoderConfig(share_offsets=False),
        "the same, stride 2": DecoderConfig(share_offsets=False, offset_stride=2),
    }
    plain = _step(DecoderConfig(attention="plain"))
    return [compare(case, _step(config), plain, REQUIRED, rounds=5) for case, config in cases.items()]


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
