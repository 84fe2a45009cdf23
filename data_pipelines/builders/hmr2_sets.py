"""The parts of 4D-Humans' training data: their tars, sizes and known faults (its datasets_tar.yaml). Plain facts."""

from typing import NamedTuple


class TarSet(NamedTuple):
    """One set; its tars are numbered from 0."""

    title: str
    folder: str
    tars: int
    epoch: int
    """Examples that HMR2.0 calls an epoch of it."""
    split: str = "train"
    broken: tuple[int, ...] = ()
    """Tars that TokenHMR leaves out as broken uploads."""

    @property
    def range(self) -> str:
        return f"{{000000..{self.tars - 1:06d}}}.tar"


HMR2_SETS = {
    "h36m": TarSet("H36M-TRAIN-WMASK", "h36m-train", 313, 314_000),
    "mpii": TarSet("MPII-TRAIN-WMASK", "mpii-train", 10, 100_000),
    "coco": TarSet("COCO-TRAIN-2014-WMASK-PRUNED", "coco-train-2014-pruned", 18, 18_000),
    "coco_vitpose": TarSet("COCO-TRAIN-2014-VITPOSE-REPLICATE-PRUNED12", "coco-train-2014-vitpose-pruned", 45, 45_000),
    "mpi_inf": TarSet("MPI-INF-TRAIN-PRUNED", "mpi-inf-train-pruned", 7, 12_000),
    "ava": TarSet("AVA-TRAIN-MIDFRAMES-1FPS-WMASK", "ava-train-midframes-1fps-vitpose", 93, 200_000),
    "aic": TarSet("AIC-TRAIN-WMASK", "aic-train-vitpose", 105, 200_000),
    "insta": TarSet(
        "INSTA-TRAIN-WMASK", "insta-train-vitpose-replicate", 3658, 4_000_000, broken=tuple(range(2994, 3001))
    ),
    "coco_val": TarSet("COCO-VAL", "coco-val", 1, 0, split="validation"),
}
"""Name of the configuration of `hmr2_tars`: its set."""
