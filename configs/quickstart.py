"""A small DeforHMR on the shipped, frozen encoder: what `make quickstart` trains.

DeforHMR (Heo et al. 2025) scaled down: ViT-Ti at 128x96 instead of ViT-H at 256x192, three decoder layers of width 192.

    python -m data_pipelines.build synthetic_people --data-dir data
    python train.py --config configs/quickstart.py

Hardware: 2 CPU cores, ten minutes. Expected: docs/results.md.
"""

from hmr_jax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
)


def get_config() -> Config:
    return Config(
        name="quickstart",
        steps=512,
        batch_size=32,
        log_every=25,
        eval_examples=256,
        init_from="encoder",
        loss=LossConfig(global_orient=2.0, body_pose=3.0, betas=0.24),
        model=ModelConfig(
            encoder=EncoderConfig(image_size=(128, 96), dim=192, depth=12, num_heads=3),
            decoder=DecoderConfig(dim=192, depth=3, num_heads=6, head_dim=32, mlp_dim=384, offset_groups=6),
        ),
        optim=OptimConfig(name="muon", learning_rate=3e-3, warmup_steps=50, frozen=("encoder",)),
        data=DataConfig(
            crop_size=128,
            workers=1,
            augment=AugmentConfig(scale=0.15, rotation=15.0, rotation_probability=0.3, extreme_crop_probability=0.0),
        ),
        checkpoint=CheckpointConfig(every=400),
    )
