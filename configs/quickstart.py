"""A small DeforHMR on a frozen encoder that has seen real people: what `make quickstart` trains.

DeforHMR (Heo et al. 2025) freezes ViTPose's ViT-H. Here the encoder is BlazePose (Bazarevsky et al. 2020), which the
package ships, and the decoder has three layers of width 192. The encoder's features are computed once and kept.

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
    FeatureCacheConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
)


def get_config() -> Config:
    return Config(
        name="quickstart",
        steps=512,
        batch_size=64,
        log_every=25,
        eval_examples=256,
        init_from="encoder",
        loss=LossConfig(keypoints_2d=4.8, global_orient=2.0, body_pose=3.0, betas=0.24),
        model=ModelConfig(
            encoder=EncoderConfig(name="blazepose_full", image_size=(256, 256), map_stride=32),
            decoder=DecoderConfig(
                feature_dim=192, landmarks=True, dim=192, depth=3, num_heads=6, head_dim=32, mlp_dim=384,
                offset_groups=6,
            ),
        ),
        optim=OptimConfig(name="muon", learning_rate=3e-3, warmup_steps=50, frozen=("encoder",)),
        data=DataConfig(
            crop_size=256,
            augment=AugmentConfig(
                scale=0.2, rotation=15.0, rotation_probability=0.5, upright_probability=0.7, shift=0.04,
                extreme_crop_probability=0.05,
            ),
        ),
        cache=FeatureCacheConfig(examples=8192),
        checkpoint=CheckpointConfig(every=256),
    )  # fmt: skip
