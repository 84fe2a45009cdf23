"""DeforHMR (Heo et al., 3DV 2025) at full size: frozen ViT-H encoder, 24 + 2 query tokens, deformable cross-attention.

    python train.py --config configs/deforhmr_paper.py --init-from weights/hmr2 --model.body SMPL_NEUTRAL.npz

The paper names its encoder ambiguously [default]: HMR2.0's fine-tuned one (weights/hmr2, assumed here, as features that
know about 3-D explain its results better) or raw ViTPose-H (--init-from weights/vitpose_h). docs/weights.md says how to
convert both; only the encoder is taken of either.

Hardware: written for 8 accelerators of 80 GB; not yet trained. Expected: the paper reports 3DPW and RICH.
"""

from hmr_jax.config import Config


def get_config() -> Config:
    return Config(name="deforhmr_paper", init_groups=("encoder",))
