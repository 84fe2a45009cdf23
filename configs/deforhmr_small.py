"""The quickstart's DeforHMR with the encoder trained along, by dense targets too, and people made on the fly.

DeforHMR's frozen encoder is HMR2.0's, which was trained for bodies after ViTPose had trained it for keypoints. Here
both happen at once, from random initial values: what the package ships, model and encoder, comes from this file.

    python train.py --config configs/deforhmr_small.py

A second round starts from its weights, with losses on keypoints and rotations alone. The mean of both rounds' weights
errs less than either (docs/benchmarks/accuracy.md):

    python train.py --config configs/deforhmr_small.py --name second --init-from runs/deforhmr_small \\
        --init-groups encoder decoder head --optim.learning-rate 8e-4 --optim.warmup-steps 200 --steps 10000 \\
        --model.no-dense-targets --data.dense --loss.heatmaps 0 --loss.parts 0 --loss.depth 0
    python -m tools.export_weights runs/deforhmr_small hmr_jax/assets/deforhmr_small --groups encoder decoder head \\
        --average-with runs/second

Hardware: one GPU and its processor cores; 9 minutes a round on an H200 with 16. Expected:
hmr_jax/assets/deforhmr_small/README.md.
"""

import os
from dataclasses import replace

from configs.quickstart import get_config as quickstart
from hmr_jax.config import Config, OptimConfig


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
        loss=replace(config.loss, body_pose=1.0, heatmaps=5.0, parts=5.0, depth=20.0),
        model=replace(config.model, dense_targets=True, decoder=replace(config.model.decoder, share_offsets=False)),
        optim=OptimConfig(name="muon", learning_rate=1.5e-3, warmup_steps=300, weight_decay=0.05, frozen=()),
        data=replace(
            config.data,
            source="synthetic",
            dense=("depth", "parts"),
            dense_size=32,
            uses=4,
            workers=0,
            processes=os.cpu_count() or 1,
        ),
        checkpoint=replace(config.checkpoint, every=1000),
    )
