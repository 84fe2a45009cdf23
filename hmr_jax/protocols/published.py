"""Published results of other methods under (nearly) the same protocols, each with its source.

Every row was read in its source. What a source does not state (root, boxes, flip test) changes results by 1 to 12 mm,
so these rows are for orientation only; see docs/evaluation.md.
"""

from typing import NamedTuple

from hmr_jax.protocols.protocol import Protocol

_SLIDES = "D2A-HMR talk slides (CRV 2024), Table I"
_SAM = "SAM-3D-Body paper, Table 2"
_TOKEN = "TokenHMR README"
# The protocols with which a data set's rows are shown: those with the papers' joints, not those of the 3DPW challenge.
_GROUPS = {
    "3DPW": ("3dpw-j14-pelvis", "3dpw-j14-hips", "3dpw-j19", "3dpw-j19-keypoints"),
    "EMDB": ("emdb1-24-kinematic", "emdb1-24-regressed"),
    "RICH": ("rich-24-hips",),
    "H36M": ("h36m-p2-j14", "h36m-p2-j14-j19", "h36m-p2-j14-hips"),
    "MLB": ("mlb-pitch",),
}


class Published(NamedTuple):
    """One row; None: not reported."""

    method: str
    data: str
    """3DPW, EMDB, RICH, H36M or MLB."""
    source: str
    pa_mpjpe: float | None = None
    mpjpe: float | None = None
    pve: float | None = None
    pck: float | None = None
    note: str = ""


def _rows(data: str, source: str, table: str) -> list[Published]:
    """Parses lines of "method | PA-MPJPE / MPJPE / PVE | note"; "-" is a number that is not reported."""
    rows = []
    for line in table.strip().splitlines():
        method, numbers, *note = (part.strip() for part in line.split("|"))
        values = [None if value.strip() == "-" else float(value) for value in numbers.split("/")]
        pa_mpjpe, mpjpe, pve = values
        rows.append(Published(method, data, source, pa_mpjpe, mpjpe, pve, note=" ".join(note)))
    return rows


PUBLISHED: tuple[Published, ...] = (
    *_rows("3DPW", _SAM, """
        HMR2.0b | 54.3 / 81.3 / 93.1
        CameraHMR | 35.1 / 56.0 / 65.9
        PromptHMR | 36.1 / 58.7 / 69.4
        SMPLer-X-H | 46.6 / 76.7 / 91.8 | run by the table's authors
        NLF-L+fit | 33.6 / 54.9 / 63.7
        WHAM | 35.9 / 57.8 / 68.7 | video
        TRAM | 35.6 / 59.3 / 69.6 | video
        GENMO | 34.6 / 53.9 / 65.8 | video
        SAM-3D-Body ViT-H | 33.2 / 54.8 / 64.1
        SAM-3D-Body DINOv3-H+ | 33.8 / 54.8 / 63.6
    """),
    *_rows("EMDB", _SAM, """
        HMR2.0b | 79.2 / 118.5 / 140.6
        CameraHMR | 43.3 / 70.3 / 81.7
        PromptHMR | 41.0 / 71.7 / 84.5
        SMPLer-X-H | 64.5 / 92.7 / 112.0
        NLF-L+fit | 40.9 / 68.4 / 80.6
        WHAM | 50.4 / 79.7 / 94.4 | video
        TRAM | 45.7 / 74.4 / 86.6 | video
        GENMO | 42.5 / 73.0 / 84.8 | video
        SAM-3D-Body ViT-H | 38.5 / 62.9 / 74.3
        SAM-3D-Body DINOv3-H+ | 38.2 / 61.7 / 72.5
    """),
    *_rows("RICH", _SAM, """
        HMR2.0b | 48.1 / 96.0 / 110.9 | run by the table's authors
        CameraHMR | 34.0 / 55.7 / 64.4
        PromptHMR | 37.3 / 56.6 / 65.5
        SMPLer-X-H | 37.4 / 62.5 / 69.5
        NLF-L+fit | 28.7 / 51.0 / 58.2 | run by the table's authors; trained on RICH's training part
        GENMO | 39.1 / 66.8 / 75.4 | video
        SAM-3D-Body ViT-H | 31.9 / 55.0 / 61.7
        SAM-3D-Body DINOv3-H+ | 30.9 / 53.7 / 60.3
    """),
    *_rows("3DPW", _SLIDES, """
        HMMR | 72.6 / 116.5 / 139.3 | video
        TCMR | 55.8 / 95.0 / 111.5 | video
        VIBE | 56.5 / 93.5 / 99.1 | video
        HMR | 81.3 / 130.0 / -
        SPEC | 53.2 / 96.5 / 118.5
        SPIN | 59.2 / 96.9 / 116.4
        PyMAF | 58.9 / 92.8 / 110.1
        ROMP | 53.5 / 89.3 / 105.6
        HMR-EFT | 52.2 / 85.1 / 98.7
        PARE | 50.9 / 82.0 / 97.9
        ProHMR | 59.5 / 95.1 / 109.6
        I2L-MeshNet | 57.7 / 93.2 / -
        Pose2Mesh | 58.9 / 89.2 / -
        METRO | 47.9 / 77.1 / 88.2
        D2A-HMR | 48.4 / 80.5 / 88.4
    """),
    *_rows("H36M", _SLIDES, """
        HMMR | 58.1 / - / - | video
        TCMR | 41.1 / 62.3 / - | video
        VIBE | 41.4 / 65.6 / - | video
        HMR | 56.8 / 88.0 / -
        SPIN | 41.1 / 62.5 / -
        PyMAF | 40.5 / 57.7 / -
        HMR-EFT | 43.8 / 63.2 / -
        PARE | 50.6 / 76.8 / -
        ProHMR | 41.2 / - / -
        I2L-MeshNet | 41.1 / 55.7 / -
        Pose2Mesh | 47.0 / 64.9 / -
        METRO | 36.7 / 54.0 / -
        D2A-HMR | 36.2 / 53.8 / -
    """),
    *_rows("3DPW", "PitcherNet slides (CVPRW 2024)", "D2A-HMR v2 | 46.9 / 78.7 / - | more augmentation"),
    *_rows("H36M", "PitcherNet slides (CVPRW 2024)", "D2A-HMR v2 | 35.9 / 53.2 / - | more augmentation"),
    *_rows("3DPW", _TOKEN, """
        TokenHMR, paper | 44.8 / 70.9 / 84.3
        TokenHMR, released weights | 45.5 / 72.0 / 84.8
        TokenHMR, BEDLAM only | 44.0 / 71.6 / 85.7
    """),
    *_rows("EMDB", _TOKEN, """
        TokenHMR, paper | 55.6 / 89.5 / 108.5
        TokenHMR, released weights | 56.4 / 91.9 / 110.0
        TokenHMR, BEDLAM only | 49.8 / 89.6 / 106.2
    """),
    *_rows("3DPW", "CLIFF README", """
        CLIFF HR-W48 | 43.0 / 69.0 / 81.2 | 3DPW in training
        CLIFF ResNet-50 | 45.7 / 72.0 / 85.3 | 3DPW in training
    """),
    *_rows("3DPW", "PARE README", "PARE + 3DPW | 46.5 / 74.5 / 88.6 | 3DPW in training"),
    *_rows("3DPW", "PointHMR README", "PointHMR | 44.9 / 73.9 / -"),
    *_rows("H36M", "PointHMR README", "PointHMR | 32.9 / 48.3 / -"),
    *_rows("3DPW", "HybrIK README", """
        HybrIK HRNet-48 | 48.6 / 88.0 / -
        HybrIK HRNet-48 + 3DPW | 41.8 / 71.3 / - | 3DPW in training
    """),
    *_rows("H36M", "HybrIK README", "HybrIK HRNet-48 | 29.5 / 50.4 / -"),
    *_rows("3DPW", "Zolly README", """
        Zolly R50 | 48.92 / 79.18 / 92.82 | retrained weights
        Zolly H48 | 47.88 / 78.21 / 90.82 | retrained weights
        Zolly H48, fine-tuned | 39.09 / 64.44 / 75.78 | retrained weights, 3DPW in training
    """),
    *_rows("3DPW", "mmhuman3d README", """
        HMR, mmhuman3d | 67.53 / 112.34 / -
        SPIN, mmhuman3d | 57.54 / 94.11 / -
        PARE, mmhuman3d | 49.35 / 81.79 / -
        HybrIK, mmhuman3d | 49.02 / 81.08 / -
        CLIFF-R50, mmhuman3d | 47.38 / 75.08 / -
    """),
    *(
        Published(method, "MLB", "D2A-HMR talk slides (CRV 2024), Table II", None, error, None, accuracy)
        for method, accuracy, error in (
            ("HMR", 65.9, 61.3), ("SPIN", 84.7, 32.1), ("ProHMR", 76.1, 48.2), ("ROMP", 77.4, 48.9),
            ("METRO", 81.5, 37.8), ("PARE", 84.0, 33.7), ("D2A-HMR", 87.9, 30.6),
        )
    ),
)  # fmt: skip


def published_rows(protocol: Protocol) -> list[Published]:
    """The rows shown with a protocol's results, the best PA-MPJPE first; none if there are none for its data."""
    rows = [row for row in PUBLISHED if protocol.name in _GROUPS[row.data]]
    return sorted(rows, key=lambda row: (row.pa_mpjpe is None, row.pa_mpjpe or 0, row.mpjpe or 0))
