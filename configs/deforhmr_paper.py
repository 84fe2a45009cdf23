"""DeforHMR (Heo et al., 3DV 2025) at full size: frozen ViT-H encoder, 24 + 2 query tokens, deformable cross-attention.

    python train.py --config configs/deforhmr_paper.py --init-from ENCODER --model.body SMPL_NEUTRAL.npz

Hardware: written for 8 accelerators of 80 GB; not yet trained. Expected: the paper reports 3DPW and RICH.
"""

from hmr_jax.config import Config


def get_config() -> Config:
    return Config(name="deforhmr_paper")
