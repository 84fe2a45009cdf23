"""The table of protocols: one entry for each way to score a data set. `python -m hmr_jax.protocols` prints it.

What no source states is marked `[default]`.
"""

import dataclasses
import difflib

from hmr_jax.body.joints import EVALUATION_14_OF_44, J14_FROM_H36M, PELVIS_44, SMPL_24
from hmr_jax.protocols.protocol import LIMBS, MOTION, Protocol

_DISTANCES = ("mpjpe", "pa_mpjpe", "pve", "pa_pve", "mpjpe_z", "pa_mpjpe_z")
_LIMBS_24 = tuple(i for i, name in enumerate(SMPL_24) if name.rpartition("_")[2] in LIMBS)
_PARTS_9 = (0, 1, 2, 4, 5, 16, 17, 18, 19)
# SPIN's 17 evaluation joints: rows of J_regressor_h36m, and their indices among the 44 keypoints.
_J17 = (*J14_FROM_H36M, 0, 7, 9)
_J17_OF_44 = (*EVALUATION_14_OF_44, PELVIS_44, 41, 42)
_J14_OF_J19 = (*range(13), 18)
_HIPS_OF_44 = (27, 28)
_LIMBS_OF_44 = (34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25)  # shoulders, elbows, wrists, hips, knees, ankles
_ACTION_H36M = r"S\d+_([A-Za-z]+)"  # of SPIN's names: S9_Directions_1.60457274_000001

_3DPW = Protocol(
    name="3dpw-j14-pelvis",
    dataset="three_dpw",
    split="test",
    expected=35_515,
    regressor="h36m",
    joints=J14_FROM_H36M,
    root_name="pelvis",
    root=(0,),
    truth="body",
    gender="gendered",
    metrics=(*_DISTANCES, *MOTION),
    source="evaluation code of SPIN, BEDLAM, CameraHMR; PVE with the same root",
    used_by="SPIN, PARE, BEDLAM, CameraHMR, ReFit; probably DeforHMR",
    note="35,515 valid person-frames is the commonly quoted count.",
)
_H36M = Protocol(
    name="h36m-p2-j14",
    dataset="human36m/protocol2",
    split="test",
    expected=None,
    regressor="h36m",
    joints=J14_FROM_H36M,
    root_name="pelvis",
    root=(0,),
    truth="keypoints",
    gender="neutral",
    metrics=("mpjpe", "pa_mpjpe", "mpjpe_z", "pa_mpjpe_z"),
    source="SPIN's evaluation code: motion-captured joints, the 14th is Head (H36M)",
    used_by="SPIN",
    note="Subjects S9 and S11, frontal camera 60457274 (told by the keys of the records), every 5th frame.",
    select=r"^(?!.*\.(54138969|55011271|58860488))",
    keypoints=EVALUATION_14_OF_44,
    keypoint_root=(PELVIS_44,),
    action=_ACTION_H36M,
)
_RICH = Protocol(
    name="rich-24-hips",
    dataset="rich",
    split="test",
    expected=None,
    regressor="body",
    joints=tuple(range(24)),
    root_name="hips",
    root=(1, 2),
    truth="body",
    gender="neutral",
    metrics=_DISTANCES,
    source="evaluation code of WHAM and GVHMR: neutral SMPL J_regressor on posed vertices of both sides",
    used_by="WHAM, GVHMR, PromptHMR, CameraHMR; probably DeforHMR. BEDLAM regresses with the gender's own J_regressor",
    sequence=r"^(.*)-\d+-\d+$",
    note="Papers' truth is gendered SMPL-X carried to SMPL's vertices. Records hold neutral SMPL fitted to it (mean "
    "distance of a few mm, at most 20); a truth file with vertices scores against the exact mesh.",
)
_EMDB = dataclasses.replace(
    _RICH,
    name="emdb1-24-kinematic",
    dataset="emdb/emdb1",
    expected=24_117,
    gender="gendered",
    sequence=Protocol.sequence,
    regressor="kinematic",
    metrics=(*_DISTANCES, "mpjae", "pa_mpjae", *MOTION),
    source="eth-ait/emdb, evaluation_metrics.py",
    used_by="EMDB's authors; most rows called 'EMDB (24)'",
    note="Good frames of the 17 sequences of EMDB-1, with EMDB's own boxes. PA-PVE applies the joints' alignment.",
    angle_parts=_PARTS_9,
    pa_pve="joints",
)
_SYNTHETIC = Protocol(
    name="synthetic",
    dataset="synthetic_people",
    split="test",
    expected=None,
    regressor="j19",
    joints=_J14_OF_J19,
    root_name="pelvis",
    root=(14,),
    truth="keypoints",
    gender="neutral",
    metrics=("mpjpe", "pa_mpjpe", "pve", "pa_pve", "mpjpe_z", "pa_mpjpe_z"),
    source="this project; HMR2.0's 14 joints with the built-in body's own regressors",
    used_by="this project",
    sequence=r"^(.*)/\d+$",
    note="As many people as are asked for.",
    keypoints=EVALUATION_14_OF_44,
    keypoint_root=(PELVIS_44,),
)

_3DPW_J19 = dataclasses.replace(
    _3DPW,
    name="3dpw-j19",
    regressor="j19",
    joints=_J14_OF_J19,
    root=(14,),
    source="4D-Humans' evaluation (points 25..37 and 43 of 44, root 39); PVE as TokenHMR adds it",
    used_by="HMR2.0, TokenHMR",
    note="Hips and head are other points than those of J_regressor_h36m; the pelvis is the same.",
)

_ALL = (
    _3DPW,
    dataclasses.replace(
        _3DPW,
        name="3dpw-j14-hips",
        root_name="hips",
        root=(4, 1),
        source="evaluation code of VIBE, WHAM, GVHMR, PromptHMR: mean of J14's points 2 and 3",
        used_by="VIBE, WHAM, GVHMR, PromptHMR; per their papers NLF, SAM-3D-Body; assumed for D2A-HMR [default]",
    ),
    _3DPW_J19,
    dataclasses.replace(
        _3DPW_J19,
        name="3dpw-j19-keypoints",
        dataset="hmr2_eval_npz/3dpw_test",
        truth="keypoints",
        gender="neutral",
        metrics=("mpjpe", "pa_mpjpe", "mpjpe_z", "pa_mpjpe_z"),
        source="4D-Humans' evaluation on ProHMR's 3dpw_test.npz: the 3-D keypoints that the file holds",
        used_by="HMR2.0",
        note="No body is posed for the truth, so the file's genders do not matter. Boxes grow to 192:256.",
        keypoints=EVALUATION_14_OF_44,
        keypoint_root=(PELVIS_44,),
        sequence=r"^(.*)/[^/]*$",
    ),
    dataclasses.replace(
        _3DPW,
        name="3dpw-24-challenge",
        split="all",
        expected=None,
        regressor="kinematic",
        joints=tuple(range(24)),
        root=(0,),
        metrics=("mpjpe", "pa_mpjpe", "pck", "auc", "mpjae", "pa_mpjae"),
        source="3dpw-eval, the official challenge",
        used_by="the 3DPW challenge",
        note="All 60 files, frames with 2-D poses and a valid camera. Kinematic hips, unlike the papers' J14. AUC: 200 "
        "thresholds, 1 mm apart.",
        pck=50.0,
        pck_joints=_LIMBS_24,
        auc=(0.0, 199.0, 200),
        angle_parts=_PARTS_9,
    ),
    dataclasses.replace(
        _H36M,
        name="h36m-p1-j14",
        dataset="human36m/protocol1",
        note="Subjects S9 and S11, all four cameras, every 5th frame.",
        select="",
    ),
    _H36M,
    dataclasses.replace(
        _H36M,
        name="h36m-p2-j14-j19",
        regressor="j19",
        joints=_J14_OF_J19,
        root=(14,),
        source="4D-Humans' evaluation: motion-captured joints, predicted by J19 (points 25..37 and 43 of 44, root 39)",
        used_by="HMR2.0",
    ),
    dataclasses.replace(
        _H36M,
        name="h36m-p2-j14-hips",
        root_name="hips",
        root=(4, 1),
        keypoint_root=_HIPS_OF_44,
        source="BEDLAM's evaluation code",
        used_by="BEDLAM; assumed for D2A-HMR [default]",
    ),
    _RICH,
    _EMDB,
    dataclasses.replace(
        _EMDB,
        name="emdb1-24-regressed",
        regressor="body",
        metrics=(*_DISTANCES, *MOTION),
        source="TokenHMR's evaluation code: neutral SMPL J_regressor on posed vertices of both sides",
        used_by="TokenHMR and BEDLAM-style code",
        note="1 to 4 mm from the kinematic joints of the same body.",
        angle_parts=(),
        pa_pve="vertices",
    ),
    dataclasses.replace(
        _H36M,
        name="3dhp",
        dataset="mpi_inf_3dhp",
        joints=_J17,
        metrics=("mpjpe", "pa_mpjpe", "pck", "auc"),
        source="MPI-INF-3DHP test set as SPIN scores it, 17 joints",
        used_by="SPIN, VIBE, MeTRAbs",
        select="",
        note="AUC: 31 thresholds, 5 mm apart.",
        keypoints=_J17_OF_44,
        pck=150.0,
        auc=(0.0, 150.0, 31),
        action="",
    ),
    dataclasses.replace(
        _H36M,
        name="mlb-pitch",
        dataset="mlb_pitch",
        metrics=("mpjpe", "pa_mpjpe", "pck"),
        source="D2A-HMR, Table II: accuracy and MPJPE; threshold and joints are not stated [default]",
        used_by="D2A-HMR",
        select="",
        note="MLBPitchDB is not public. Accuracy is read as PCK at 50 mm [default].",
        pck=50.0,
        action="",
    ),
    dataclasses.replace(
        _H36M,
        name="capture-12",
        dataset="mlb_pitch",
        regressor="kinematic",
        joints=(16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8),
        root_name="hips",
        root=(1, 2),
        metrics=("mpjpe", "pa_mpjpe", "pck"),
        source="this project: the skeleton's own joints; PCK's threshold is MPI-INF-3DHP's",
        used_by="make bench-real",
        select="",
        note="A real person seen by calibrated cameras; points are triangulated. A sequence is the video of a camera.",
        keypoints=_LIMBS_OF_44,
        keypoint_root=(28, 27),
        pck=150.0,
        sequence=r"images/([^/]+)/",
        action="",
    ),
    dataclasses.replace(
        _H36M,
        name="coco-pck",
        dataset="coco_pose",
        split="validation",
        joints=tuple(range(44)),
        root=(),
        metrics=("pck", "pck_tight"),
        source="4D-Humans' evaluation: 2-D errors in units of the box, labels with confidence above 0.5",
        used_by="HMR2.0, CameraHMR",
        select="",
        sequence="",
        note="The mean over the keypoints of the share of a keypoint's labels. All labelled points of the 44 count.",
        space="2d",
        keypoints=tuple(range(44)),
        keypoint_root=(),
        pck=0.10,
        pck_tight=0.05,
        action="",
    ),
    _SYNTHETIC,
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; the message lists the nearest names.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, 3, 0.4)
        hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(PROTOCOLS)}"
        raise ValueError(f"There is no protocol '{name}': {hint}. `python -m hmr_jax.protocols` prints them all.")
    return PROTOCOLS[name]


def for_dataset(protocol: Protocol, dataset: str) -> Protocol:
    """The protocol with which a data set's own evaluation scores the same points.

    Args:
        protocol: as asked for.
        dataset: TFDS name of the records; "": the protocol's own.
    """
    if protocol.name == "3dpw-j19" and dataset.startswith("hmr2_eval_npz/"):
        return PROTOCOLS["3dpw-j19-keypoints"]
    return protocol
