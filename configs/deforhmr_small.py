"""The quickstart's DeforHMR with the encoder trained along and people made on the fly: for longer runs.

Starts from an encoder of configs/pretrain_encoder.py, as HMR2.0 starts from ViTPose's.

    python train.py --config configs/deforhmr_small.py --init-from runs/pretrain_encoder

Hardware: 2 CPU cores or one accelerator. Expected: not yet trained to its end.
"""

from dataclasses import replace

from configs.quickstart import get_config as quickstart
from hmr_jax.config import Config, OptimConfig


def get_config() -> Config:
    config = quickstart()
    return replace(
        config,
        name="deforhmr_small",
        steps=30_000,
        eval_every=1000,
        optim=OptimConfig(learning_rate=6e-4, warmup_steps=200, frozen=(), encoder_scale=0.5),
        data=replace(config.data, source="synthetic"),
    )
