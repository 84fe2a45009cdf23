"""DeforHMR (Heo et al., 3DV 2025) at full size: frozen ViT-H encoder, 24 + 2 query tokens, deformable cross-attention.

The paper does not name its training sets: here they are HMR2.0b's. [default]

    for part in h36m mpii coco coco_vitpose mpi_inf ava aic insta; do
        python -m data_pipelines.build hmr2_tars/$part --manual-dir hmr2_training_data/dataset_tars --data-dir data
    done
    python -m data_pipelines.build three_dpw --manual-dir 3DPW --data-dir data --option body=SMPL_DIR
    python train.py --config configs/deforhmr_paper.py --init-from weights/hmr2 --model.body SMPL_NEUTRAL.npz

It does not name its encoder clearly either: HMR2.0's fine-tuned one (weights/hmr2, assumed here, because features that
know about 3-D explain its results better) or raw ViTPose-H (`--init-from weights/vitpose_h`). [default] docs/weights.md
says how to convert both; only the encoder of either is taken.

With `--data.three-dpw 0.1`, a tenth of the examples is from 3DPW's train split.

Hardware: written for 8 accelerators of 80 GB; not yet trained. Expected: the paper reports 3DPW and RICH.
"""

from data_pipelines.mixtures import HMR2B
from hmr_jax.config import Config, DataConfig, DatasetConfig


def get_config() -> Config:
    return Config(
        name="deforhmr_paper",
        init_groups=("encoder",),
        data=DataConfig(datasets=HMR2B, evaluation=(DatasetConfig("three_dpw"),)),
        eval_protocol="3dpw-j14-pelvis",
    )
