"""The DeforHMR that the package ships: as configs/quickstart.py, but with the encoder trained along.

Starts from the encoder of configs/pretrain_encoder.py, as HMR2.0 starts from ViTPose's, and makes people on the fly.

    python train.py --config configs/deforhmr_small.py --init-from runs/pretrain_encoder

Hardware: 2 CPU cores.
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
        name="deforhmr_small",
        steps=1600,
        batch_size=32,
        log_every=25,
        eval_every=400,
        eval_examples=256,
        init_from="encoder",
        loss=LossConfig(global_orient=2.0, body_pose=1.0, betas=0.24),
        model=ModelConfig(
            encoder=EncoderConfig(image_size=(128, 96), dim=192, depth=12, num_heads=3),
            decoder=DecoderConfig(dim=192, depth=3, num_heads=6, head_dim=32, mlp_dim=384, offset_groups=6),
        ),
        optim=OptimConfig(learning_rate=6e-4, warmup_steps=100, frozen=(), encoder_scale=0.5),
        data=DataConfig(
            source="synthetic",
            crop_size=128,
            augment=AugmentConfig(scale=0.15, rotation=15.0, rotation_probability=0.3, extreme_crop_probability=0.0),
        ),
        checkpoint=CheckpointConfig(every=400),
    )
