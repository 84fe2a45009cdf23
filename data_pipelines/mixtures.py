"""Training mixtures of papers: data sets by their names in `python -m data_pipelines.build`, and their shares.

Shares of the examples hold exactly in every thousand. --data.three-dpw 0.1 adds 3DPW's train split to any mixture.
"""

from hmr_jax.config import DatasetConfig


def _mixture(**shares: float) -> tuple[DatasetConfig, ...]:
    """Configurations of hmr2_tars, and BEDLAM."""
    return tuple(
        DatasetConfig(name if name == "bedlam" else f"hmr2_tars/{name}", share) for name, share in shares.items()
    )


HMR2A = _mixture(h36m=0.3, mpii=0.1, coco=0.4, mpi_inf=0.2)
"""HMR2.0a, the mixture of the paper's tables (issues 114 and 173 of 4D-Humans)."""

HMR2B = _mixture(h36m=0.10, mpii=0.10, coco=0.10, coco_vitpose=0.10, mpi_inf=0.02, ava=0.19, aic=0.19, insta=0.20)
"""HMR2.0b, the mixture of the released model ("mix_all" of 4D-Humans)."""

TOKENHMR = _mixture(
    h36m=0.10, mpii=0.10, coco=0.10, coco_vitpose=0.10, mpi_inf=0.04, ava=0.13, aic=0.13, insta=0.12, bedlam=0.18
)
"""TokenHMR: HMR2.0b's sets and BEDLAM."""

D2A = _mixture(h36m=0.4, mpii=0.2, coco=0.3, mpi_inf=0.1)
"""D2A-HMR does not name its training sets: these are the available ones of METRO, its predecessor. [default]"""

CAMERAHMR = tuple(
    DatasetConfig(f"camerahmr_npz/{name}", weight)
    for name, weight in (("insta1", 0.2), ("insta2", 0.2), ("aic", 0.2), ("mpii", 0.2), ("coco", 0.2))
)
"""CameraHMR's releases in equal parts. [default]"""
