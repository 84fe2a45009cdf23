"""The shipped model, trained on with your own captures.

    python -m data_pipelines.build synthetic_people --data-dir data
    python -m data_pipelines.build mlb_pitch --manual-dir CAPTURE --data-dir data
    python train.py --config configs/finetune.py

Half of the examples are your own, half are synthetic people: captures have keypoints alone, which do not say how a limb
is twisted. Another data set of your own is one more `DatasetConfig` with its share.

Hardware: 2 CPU cores, minutes, most of them for the encoder's features. Expected: depends on the captures;
docs/howto/fine_tune.md.
"""

from dataclasses import replace

from configs.deforhmr_heavy import get_config as shipped
from hmr_jax.config import Config, DatasetConfig, FeatureCacheConfig


def get_config() -> Config:
    config = shipped()
    # With real images there is no need to hide from the decoder what synthetic ones show otherwise.
    decoder = replace(config.model.decoder, dropout=0.0, feature_noise=0.0, feature_drop=0.0)
    datasets = (DatasetConfig("synthetic_people", 0.5), DatasetConfig("mlb_pitch", 0.5))
    return replace(
        config,
        name="finetune",
        steps=200,
        init_from="model",
        model=replace(config.model, decoder=decoder),
        optim=replace(config.optim, learning_rate=3e-4, warmup_steps=20),
        data=replace(config.data, source="records", datasets=datasets),
        cache=FeatureCacheConfig(examples=4096),
        checkpoint=replace(config.checkpoint, every=100),
    )
