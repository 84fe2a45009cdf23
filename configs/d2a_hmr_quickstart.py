"""A small D2A-HMR on the shipped, frozen encoder: what `make quickstart-d2a` trains.

D2A-HMR (Bright et al. 2024) scaled down: BlazePose for the image, five convolutions for the depth map, two fusion
blocks of width 128, and the head of body parameters, which after so few steps gives better poses than the mesh.

    python -m data_pipelines.build synthetic_people --data-dir data
    python train.py --config configs/d2a_hmr_quickstart.py

Hardware: 2 CPU cores, twelve minutes. Expected: docs/results.md.
"""

from dataclasses import replace

from configs.d2a_hmr_paper import LOSS
from configs.quickstart import get_config as quickstart
from hmr_jax.config import Config, D2AConfig, EncoderConfig, ModelConfig


def get_config() -> Config:
    config = quickstart()
    return replace(
        config,
        name="d2a_hmr_quickstart",
        steps=640,
        batch_size=32,
        loss=replace(LOSS, rle_early_steps=200, global_orient=4.0, body_pose=6.0, betas=0.24),
        optim=replace(config.optim, learning_rate=5e-3),
        model=ModelConfig(
            name="d2a_hmr",
            encoder=config.model.encoder,
            d2a=D2AConfig(
                depth_encoder=EncoderConfig(name="conv", image_size=config.model.encoder.image_size, dim=64),
                dim=128, depth=2, num_heads=4, mlp_dim=256, dropout=0.0, mask_ratio=0.1,
                head="smpl", head_dim=96, head_depth=2, silhouette=(32, 32),
            ),
            uncertainty=True,
        ),
        data=replace(config.data, pseudo_depth=True, dense=("mask",), dense_size=32),
    )  # fmt: skip
