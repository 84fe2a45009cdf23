"""A small ViTPose-style encoder, trained on synthetic people by dense targets.

DeforHMR freezes an encoder that was pretrained on 2-D poses (Heo et al. 2025); this one is what the package ships in
its place, so that everything runs with nothing downloaded. ViT-Ti at 128x96: keypoint heatmaps as ViTPose, body parts
and depth.

    python train.py --config configs/pretrain_encoder.py

Hardware: 2 CPU cores.
"""

from hmr_jax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
)


def get_config() -> Config:
    return Config(
        name="pretrain_encoder",
        steps=2600,
        batch_size=32,
        log_every=25,
        eval_every=1000,
        eval_examples=512,
        loss=LossConfig(heatmaps=1.0, parts=1.0, depth=5.0),
        model=ModelConfig(name="dense", encoder=EncoderConfig(image_size=(128, 96), dim=192, depth=12, num_heads=3)),
        optim=OptimConfig(learning_rate=8e-4, warmup_steps=200, weight_decay=0.05, frozen=()),
        data=DataConfig(
            source="synthetic",
            crop_size=128,
            dense=("depth", "parts"),
            dense_size=32,
            # Less than HMR2.0's: the budget is small, and the generator turns the camera and hides limbs by itself.
            augment=AugmentConfig(scale=0.15, rotation=15.0, rotation_probability=0.3, extreme_crop_probability=0.0),
        ),
        checkpoint=CheckpointConfig(every=500, metric="keypoint_error"),
    )
