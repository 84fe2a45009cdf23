"""D2A-HMR (Bright et al., CRV 2024) at full size: HRNet-W64 at 224 for image and depth, vertices, all five losses.

What the readable parts of the paper leave open is marked `[default]` in hmr_jax/config/model.py; see docs/d2a.md.

    python train.py --config configs/d2a_hmr_paper.py --init-from weights/hrnet_w64 --model.body SMPL_NEUTRAL.npz

Hardware: written for 8 accelerators of 80 GB; not yet trained. Expected: the paper reports MPJPE 53.8 and PA-MPJPE 36.2
mm on Human3.6M, 80.5 and 48.4 mm on 3DPW. Its other backbones: `--model.encoder.name resnet50` with
`--model.d2a.depth-encoder.name resnet50`, and likewise resnet101 and hrnet_w40.
"""

from hmr_jax.config import Config, D2AConfig, DataConfig, EncoderConfig, LossConfig, ModelConfig, OptimConfig

# Weights of means over coordinates, metres, and 2-D in [-1, 1]: 100 on vertices, 3-D and 2-D, 1 on silhouettes and
# likelihood. `LossConfig` sums over the 44 keypoints, and its crops span one unit.
LOSS = LossConfig(
    keypoints_2d=2 * 100 / (44 * 2), keypoints_3d=100 / (44 * 3), vertices=100.0, silhouette=1.0, rle=1.0,
    rle_early_steps=12_000,
)  # fmt: skip


def get_config() -> Config:
    encoder = EncoderConfig(name="hrnet_w64", image_size=(224, 224))
    return Config(
        name="d2a_hmr_paper",
        steps=240_000,
        loss=LOSS,
        model=ModelConfig(
            name="d2a_hmr", encoder=encoder, d2a=D2AConfig(depth_encoder=encoder), uncertainty=True
        ),
        optim=OptimConfig(learning_rate=1e-4, clip_norm=0.3, frozen=()),
        data=DataConfig(crop_size=224, pseudo_depth=True, dense=("mask",), dense_size=112),
    )  # fmt: skip
