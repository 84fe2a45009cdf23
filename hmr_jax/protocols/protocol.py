"""A protocol: every choice that affects the numbers, by name.

Shapes: P evaluated points.
"""

from dataclasses import dataclass
from typing import Literal

from hmr_jax.body.joints import H36M_17, J19, KEYPOINTS_44, SMPL_24

Regressor = Literal["kinematic", "body", "h36m", "j19"]
# The points of each regressor, in its order.
POINTS: dict[Regressor, tuple[str, ...]] = {"kinematic": SMPL_24, "body": SMPL_24, "h36m": H36M_17, "j19": J19}
LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")


@dataclass(frozen=True)
class Metric:
    """How a metric is reported."""

    label: str
    unit: str
    higher_is_better: bool = False


METRICS: dict[str, Metric] = {
    "mpjpe": Metric("MPJPE", "mm"),
    "pa_mpjpe": Metric("PA-MPJPE", "mm"),
    "pve": Metric("PVE", "mm"),
    "pa_pve": Metric("PA-PVE", "mm"),
    "mpjpe_z": Metric("MPJPE(z)", "mm"),
    "pa_mpjpe_z": Metric("PA-MPJPE(z)", "mm"),
    "pck": Metric("PCK", "%", True),
    "pck_tight": Metric("PCK, tight", "%", True),
    "auc": Metric("AUC", "%", True),
    "mpjae": Metric("MPJAE", "deg"),
    "pa_mpjae": Metric("PA-MPJAE", "deg"),
    "acceleration": Metric("Accel", "mm/frame^2"),
    "acceleration_wham": Metric("Accel, WHAM", "m/s^2"),
}
MOTION: dict[str, bool] = {"acceleration": False, "acceleration_wham": True}
"""Metrics of motion: whether the first and the last acceleration of a sequence are left out, and seconds are the unit
of time, as in WHAM's evaluation."""


@dataclass(frozen=True)
class Protocol:
    """One way to score a data set. Prediction and truth have the same points, root and units."""

    name: str
    dataset: str
    """TFDS name of the records."""
    split: Literal["train", "validation", "test", "all"]
    expected: int | None
    """Number of samples of the split; None: not known from a reliable source, or up to the user."""
    regressor: Regressor
    """Where points come from: "kinematic": the skeleton's own joints; "body": the body model's J_regressor on the posed
    vertices; "h36m": J_regressor_h36m; "j19": SMPL_to_J19. Always the neutral body's, for both sides."""
    joints: tuple[int, ...]
    """(P,) indices of the regressor's points that are scored."""
    root_name: Literal["pelvis", "hips"]
    """What is moved to the origin on both sides: the pelvis point, or the mean of the two hips."""
    root: tuple[int, ...]
    """Indices of the regressor's points whose mean is the root."""
    truth: Literal["body", "keypoints"]
    """True points are those of the labelled body, or labelled keypoints (of the 44) for data without bodies."""
    gender: Literal["gendered", "neutral"]
    """The body of the truth: that of the labelled gender, or neutral. Predictions are always neutral."""
    metrics: tuple[str, ...]
    """Names in `METRICS`."""
    source: str
    """Source of the convention."""
    used_by: str
    """Papers and systems that report it."""
    note: str = ""
    """Remarks."""
    space: Literal["3d", "2d"] = "3d"
    """"2d": points are `keypoints_2d`, errors are in units of the longer side of the person's box, which is the crop's
    side where the box is a square or not known."""
    keypoints: tuple[int, ...] = ()
    """(P,) indices of `joints` among the 44 labelled keypoints; needed if the truth is "keypoints"."""
    keypoint_root: tuple[int, ...] = ()
    """The same for `root`."""
    pck: float | None = None
    """Threshold of PCK: mm, or a share of the box's longer side in 2-D."""
    pck_tight: float | None = None
    """A second, smaller threshold."""
    pck_joints: tuple[int, ...] = ()
    """Indices into `joints` of the points that count for PCK; () for all."""
    auc: tuple[float, float, int] | None = None
    """First and last threshold and their number, mm."""
    angle_parts: tuple[int, ...] = ()
    """SMPL joints whose rotations MPJAE compares."""
    select: str = ""
    """Regular expression: records whose key it does not match are not part of the protocol; "": all records are."""
    sequence: str = r"^(.*)[-_/]\d+$"
    """Regular expression on a record's key: group 1 is the sequence; "" or no match: each sample is a sequence."""
    action: str = ""
    """The same for the action; "": there are no actions."""
    pa_pve: Literal["vertices", "joints"] = "vertices"
    """What PA-PVE aligns: vertices to vertices, or joints to joints, whose transform is applied to the vertices."""
    frames_per_second: float = 30.0
    """Of the videos, for accelerations in m/s^2."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the scored points."""
        if self.space == "2d":
            return tuple(KEYPOINTS_44[joint] for joint in self.joints)
        return tuple(POINTS[self.regressor][joint] for joint in self.joints)

    @property
    def needs_vertices(self) -> bool:
        """Whether a prediction needs vertices."""
        return self.space == "3d" and (self.regressor != "kinematic" or bool({"pve", "pa_pve"} & set(self.metrics)))

    def label(self, metric: str) -> str:
        """A metric's label with its thresholds, for tables."""
        name = METRICS[metric].label
        unit = "" if self.space == "2d" else " mm"
        if metric in ("pck", "pck_tight"):
            return f"PCK@{getattr(self, metric):g}{unit}"
        if metric == "auc" and self.auc:
            return f"AUC {self.auc[0]:g}-{self.auc[1]:g}{unit}"
        return name

    def unit(self, metric: str) -> str:
        """A metric's unit."""
        return METRICS[metric].unit
