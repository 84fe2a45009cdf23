"""D2A-HMR on DeforHMR's frozen ViT-H, with a ResNet-50 for the depth maps.

    python train.py --config configs/d2a_hmr_vit.py --init-from weights/vitpose_h --model.body SMPL_NEUTRAL.npz

Hardware: written for 8 accelerators of 80 GB; not yet trained.
"""

from dataclasses import replace

from configs.d2a_hmr_paper import get_config as paper
from hmr_jax.config import Config, D2AConfig, EncoderConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    config = paper()
    depth_encoder = EncoderConfig(name="resnet50", image_size=(256, 192))
    return replace(
        config,
        name="d2a_hmr_vit",
        model=ModelConfig(name="d2a_hmr", d2a=D2AConfig(depth_encoder=depth_encoder), uncertainty=True),
        optim=OptimConfig(learning_rate=1e-4, clip_norm=0.3, frozen=("encoder",)),
        data=replace(config.data, crop_size=256, dense_size=128),
    )
