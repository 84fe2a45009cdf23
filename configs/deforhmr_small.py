"""A small DeforHMR whose encoder is trained along, by dense targets too, from random values on people made on the fly.

DeforHMR's frozen encoder is HMR2.0's, which was trained for bodies after ViTPose had trained it for keypoints. Here
both happen at once: ViT-Ti at 128x96, three decoder layers of width 192. Nothing of it has seen a photograph.

    python train.py --config configs/deforhmr_small.py

A second round starts from its weights, with losses on keypoints and rotations alone. The mean of both rounds' weights
errs less than either (docs/benchmarks/accuracy.md):

    python train.py --config configs/deforhmr_small.py --name second --init-from runs/deforhmr_small \\
        --init-groups encoder decoder head --optim.learning-rate 8e-4 --optim.warmup-steps 200 --steps 10000 \\
        --model.no-dense-targets --data.dense --loss.heatmaps 0 --loss.parts 0 --loss.depth 0
    python -m tools.export_weights runs/deforhmr_small exported --groups encoder decoder head --average-with runs/second

Hardware: one GPU and its processor cores; 9 minutes a round on an H200 with 16. Expected: 126 mm MPJPE on synthetic
test people (docs/results.md).
"""

import os
from dataclasses import replace

from configs.quickstart import get_config as quickstart
from hmr_jax.config import (
    AugmentConfig,
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
    config = quickstart()
    return replace(
        config,
        name="deforhmr_small",
        steps=12_000,
        batch_size=256,
        log_every=50,
        eval_every=3000,
        eval_examples=512,
        init_from="",
        # Next to keypoints_3d, the largest term, so that dense targets still count.
        loss=LossConfig(global_orient=2.0, body_pose=1.0, betas=0.24, heatmaps=5.0, parts=5.0, depth=20.0),
        model=ModelConfig(
            encoder=EncoderConfig(image_size=(128, 96), dim=192, depth=12, num_heads=3),
            decoder=DecoderConfig(
                dim=192, depth=3, num_heads=6, head_dim=32, mlp_dim=384, offset_groups=6, share_offsets=False
            ),
            dense_targets=True,
        ),
        optim=OptimConfig(name="muon", learning_rate=1.5e-3, warmup_steps=300, weight_decay=0.05, frozen=()),
        data=DataConfig(
            source="synthetic",
            crop_size=128,
            augment=AugmentConfig(scale=0.15, rotation=15.0, rotation_probability=0.3, extreme_crop_probability=0.0),
            dense=("depth", "parts"),
            dense_size=32,
            uses=4,
            processes=os.cpu_count() or 1,
        ),
        cache=FeatureCacheConfig(),
        checkpoint=replace(config.checkpoint, every=1000),
    )
