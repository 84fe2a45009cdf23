"""HMR2.0 (Goel et al., ICCV 2023): a single query token, plain cross-attention, the whole network trained.

The baseline row of DeforHMR's ablation, and with `--model.decoder.queries multi` the row between the two.

    python train.py --config configs/hmr2.py --model.body SMPL_NEUTRAL.npz --init-from weights/vitpose_h

As in its code: losses with the adversarial prior on pose and shape, a constant learning rate of 1e-5, weight decay on
everything and no clipping. With AMASS, name its folder with `--data.motion AMASS`, as HMR2.0 has natural poses from
motion capture; otherwise they are those of the generator of synthetic people.

HMR2.0 started from ViTPose-H. Its published weights need no training: docs/weights.md says how to convert them.

Hardware: written for 8 accelerators of 80 GB; not yet trained.
"""

from data_pipelines.mixtures import HMR2B
from hmr_jax.config import (
    Config,
    DataConfig,
    DatasetConfig,
    DecoderConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
)


def get_config() -> Config:
    return Config(
        name="hmr2",
        steps=1_000_000,
        batch_size=384,
        model=ModelConfig(
            encoder=EncoderConfig(drop_path=0.55, remat=True),
            decoder=DecoderConfig(queries="single", attention="plain"),
        ),
        loss=LossConfig(adversarial=0.0005),
        optim=OptimConfig(
            learning_rate=1e-5, warmup_steps=0, clip_norm=0.0, frozen=(), schedule="constant", decay_all=True
        ),
        data=DataConfig(datasets=HMR2B, evaluation=(DatasetConfig("three_dpw"),)),
        eval_protocol="3dpw-j19",
    )
