"""HMR2.0 (Goel et al., ICCV 2023): a single query token, plain cross-attention, the whole network trained.

The baseline row of DeforHMR's ablation, and with `--model.decoder.queries multi` the row between the two.

    python train.py --config configs/hmr2.py --model.body SMPL_NEUTRAL.npz --init-from weights/vitpose_h

HMR2.0 started from ViTPose-H. Its published weights need no training: docs/weights.md says how to convert them.

Hardware: written for 8 accelerators of 80 GB; not yet trained.
"""

from data_pipelines.mixtures import HMR2B
from hmr_jax.config import Config, DataConfig, DatasetConfig, DecoderConfig, EncoderConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    return Config(
        name="hmr2",
        steps=1_000_000,
        batch_size=384,
        model=ModelConfig(
            encoder=EncoderConfig(drop_path=0.55, remat=True),
            decoder=DecoderConfig(queries="single", attention="plain"),
        ),
        optim=OptimConfig(learning_rate=1e-5, frozen=()),
        data=DataConfig(datasets=HMR2B, evaluation=(DatasetConfig("three_dpw"),)),
    )
