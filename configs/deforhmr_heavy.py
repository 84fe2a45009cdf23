"""The quickstart's DeforHMR on BlazePose's heavy network, with people made on the fly: what the package ships.

    python train.py --config configs/deforhmr_heavy.py
    python -m tools.export_weights runs/deforhmr_heavy hmr_jax/assets/deforhmr_heavy --groups decoder head

Hardware: 2 CPU cores, an hour, most of it for the encoder's features. Expected:
hmr_jax/assets/deforhmr_heavy/README.md.
"""

from dataclasses import replace

from configs.quickstart import get_config as quickstart
from hmr_jax.config import Config, FeatureCacheConfig


def get_config() -> Config:
    config = quickstart()
    encoder = replace(config.model.encoder, name="blazepose_heavy")
    decoder = replace(config.model.decoder, depth=4, dropout=0.1, feature_noise=0.5, feature_drop=0.3)
    return replace(
        config,
        name="deforhmr_heavy",
        steps=1536,
        eval_every=0,
        log_every=50,
        model=replace(config.model, encoder=encoder, decoder=decoder),
        optim=replace(config.optim, weight_decay=0.05),
        data=replace(config.data, source="synthetic"),
        cache=FeatureCacheConfig(examples=65_536),
        checkpoint=replace(config.checkpoint, every=768),
    )
