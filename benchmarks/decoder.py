"""A training step of the decoder with deformable beside plain cross-attention: `python -m benchmarks.decoder`.

With a sampling point for each cell of the map, deformable attention multiplies the map with three matrices of a size,
for offsets, keys and values, where plain attention has two: no implementation of the default comes below a third more.
"""

from collections.abc import Callable

import jax

from benchmarks.timing import Comparison, compare, show
from hmr_jax import cli
from hmr_jax.config import DecoderConfig
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.heads import MULTI_TOKENS

FEATURES, REQUIRED = (8, 16, 12, 1280), 1.3


def main() -> None:
    """Prints the table."""
    cli.set_up_cpu()  # as train.py does
    show(f"Decoder at DeforHMR's size, features {FEATURES}, forward and backward", "plain", measure())


def measure() -> list[Comparison]:
    """Compares deformable decoders with the one of plain attention."""
    cases = {
        "a point for each cell": DecoderConfig(),
        "for each second row and column": DecoderConfig(offset_stride=2),
        "for each cell, shared by layers": DecoderConfig(share_offsets=True),
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
