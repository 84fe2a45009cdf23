"""Whether predictions and labels can be what they are said to be: rotations, metres, finite numbers, a truth at all.

A number in another unit gives an error of any size without a word, so each check names what is wrong, where, and what
to do.

Shapes: N samples, P points, J joints.
"""

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.protocols import CONFIDENT, Protocol

EXTENT = (0.2, 3.5)
"""Metres along the longest axis: outside of it, most people of a file are not in metres."""
MAX_EXTENT = 10.0
"""Metres: no single person extends over more."""
ORTHOGONAL = 0.01
"""Largest entry of R^T R - I; float16 stores rotations ten times as exactly."""
MAX_ANGLE = 2 * np.pi + 0.01
"""Of axis-angle vectors, as in records."""
BLOCK = 256  # people measured at a time
MAX_IN_CROP = 3.0
"""Of 2-D keypoints: the median distance from the crop's middle, in units of its side."""


def check_rotations(rotations: np.ndarray, keys: np.ndarray, name: str) -> None:
    """Raises ValueError if a finite one of the matrices (N, J, 3, 3) is not a rotation."""
    flat = np.asarray(rotations, np.float64).reshape(len(rotations), -1, 3, 3)
    with np.errstate(all="ignore"):
        gram = np.swapaxes(flat, -1, -2) @ flat
        good = (np.abs(gram - np.eye(3)).max((-1, -2)) <= ORTHOGONAL) & (np.linalg.det(flat) > 0)
    if (bad := ~(good | ~np.isfinite(flat).all((-1, -2))).all(1)).any():
        raise ValueError(
            f"{name} are no rotation matrices for {_named(keys[bad])}: R^T R must be the identity, and the determinant "
            "1. Give NaN where there is no prediction."
        )


def check_axis_angle(pose: np.ndarray, keys: np.ndarray, name: str) -> None:
    """Raises ValueError if a finite one of the axis-angle vectors (N, J, 3) turns by more than a turn."""
    with np.errstate(all="ignore"):
        angle = np.linalg.norm(np.asarray(pose, np.float64), axis=-1)
    if (bad := (np.isfinite(angle) & (angle > MAX_ANGLE)).any(1)).any():
        raise ValueError(
            f"{name} are rotations of more than a turn, up to {np.nanmax(angle[bad]):.3g}, for {_named(keys[bad])}: "
            "give axis times angle in radians, not in degrees."
        )


def extents(points: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(N, P, 3) points -> (N,) their largest extent along an axis; NaN without points.

    Args:
        points: of which those that are not finite are left out.
        known: (N, P) bool: those that count; None: all.
    """
    known = np.ones(points.shape[:2], bool) if known is None else known
    sizes = np.full(len(points), np.nan)
    for start in range(0, len(points), BLOCK):  # the meshes of a whole data set are gigabytes
        rows = slice(start, start + BLOCK)
        counted = (np.isfinite(points[rows]).all(-1) & known[rows])[..., None]
        high = np.where(counted, points[rows], -np.inf).max(1)
        low = np.where(counted, points[rows], np.inf).min(1)
        some = counted.any((1, 2))
        sizes[rows][some] = (high[some] - low[some]).max(1)
    return sizes


def check_extents(sizes: np.ndarray, keys: np.ndarray, name: str) -> None:
    """Raises ValueError if extents (N,) of people cannot be in metres; NaN is left out."""
    known = np.isfinite(sizes)
    if not known.any():
        return
    typical, worst = float(np.median(sizes[known])), int(np.nanargmax(sizes))
    if not EXTENT[0] <= typical <= EXTENT[1]:
        raise ValueError(
            f"{name} are not in metres: most people extend over {typical:.3g}, but a person measures "
            f"{EXTENT[0]} to {EXTENT[1]} m."
        )
    if sizes[worst] > MAX_EXTENT:
        raise ValueError(
            f"{name} are not in metres, or damaged, for {_named(keys[known & (sizes > MAX_EXTENT)])}, where a person "
            f"extends over {sizes[worst]:.3g}."
        )


def check_crop_points(points: np.ndarray, known: np.ndarray | None, name: str) -> None:
    """Raises ValueError if 2-D keypoints (N, P, 2) are not in units of the crop's side; `known` as in `extents`."""
    counted = np.isfinite(points).all(-1) & (True if known is None else known)
    if counted.any() and (far := float(np.median(np.abs(points[counted]).max(-1)))) > MAX_IN_CROP:
        raise ValueError(
            f"{name} are not in units of the crop's side: most are {far:.3g} from its middle. Divide pixels by the "
            "side, with 0 as the middle."
        )


def check_rows(values: np.ndarray, keys: np.ndarray, name: str) -> None:
    """Raises ValueError if some numbers of a row of labels (N, ...) are not finite; a row of NaN alone is no label."""
    flat = values.reshape(len(values), -1)
    if (bad := ~np.isfinite(flat).all(1) & ~np.isnan(flat).all(1)).any():
        raise ValueError(f"{name} are not finite for {_named(keys[bad])}: the labels are damaged.")


def check_labelled(points: np.ndarray, keys: np.ndarray, name: str) -> np.ndarray:
    """Labels (N, P, C + 1) with confidence last -> the same with zeros where there is no confidence.

    Raises:
        ValueError: a confidence is not a number, or a label that has one is not finite.
    """
    confidence = points[..., -1]
    if (bad := np.isnan(confidence)).any():
        raise ValueError(
            f"The confidence in {name} is not a number for {_named(keys[bad.any(1)])}: give 0 where there is no label."
        )
    if (bad := (confidence > 0) & ~np.isfinite(points).all(-1)).any():
        raise ValueError(
            f"{name} are not finite for {_named(keys[bad.any(1)])}, where their confidence says that there is a label: "
            "the labels are damaged. Points without label have confidence 0."
        )
    return np.where(confidence[..., None] > 0, points, 0)


def _named(keys: np.ndarray) -> str:
    """The first keys, for a message."""
    shown = ", ".join(map(str, keys[:3]))
    return f"{shown} and {len(keys) - 3:,} more" if len(keys) > 3 else shown


def check_labels(protocol: Protocol, samples: dict[str, np.ndarray]) -> None:
    """Raises ValueError, which says what is wrong, if no sample has a truth, or truths are damaged or not in metres."""
    has_truth, keys, count = samples["has_truth"] > 0, samples["key"], len(samples["key"])
    if not has_truth.any():
        lacking = count_rootless(samples)
        raise ValueError(
            f"None of the {count} samples has the truth that protocol {protocol.name} needs, {truth_needed(protocol)}."
            + (f" {lacking} of them lack only the root." if lacking else "")
        )
    if "damaged" in samples and (bad := has_truth & samples["damaged"]).any():
        raise ValueError(
            f"The truth is not finite for samples {keys[bad].tolist()[:20]}, where its confidence says that there is "
            "one: their labels are damaged. Points without label have confidence 0."
        )
    if "extent" not in samples:
        return
    used = has_truth & (samples["points"] >= len(protocol.joints) / 2)  # a few points may be close together
    check_extents(samples["extent"][used], keys[used], f"The labels of protocol {protocol.name}")


def count_rootless(samples: dict[str, np.ndarray]) -> int:
    """How many samples have labelled points but no labelled root."""
    return int(((samples["has_root"] == 0) & (samples["points"] > 0)).sum()) if "has_root" in samples else 0


def truth_needed(protocol: Protocol) -> str:
    """What a sample must have to be scored, in words."""
    if protocol.space == "2d":
        return f"2-D keypoints of a confidence above {CONFIDENT}"
    if protocol.truth == "body":
        return "pose and betas of the body"
    return f"3-D keypoints with a label of their root ({root_keypoints(protocol)})"


def root_keypoints(protocol: Protocol) -> str:
    """The labelled keypoints of which the root is made."""
    return " and ".join(KEYPOINTS_44[keypoint] for keypoint in protocol.keypoint_root)


def check_finite(name: str, values: np.ndarray, keys: np.ndarray) -> None:
    """Raises ValueError, which names the samples, if errors of finite predictions are not finite."""
    bad = ~np.isfinite(values).all(tuple(range(1, values.ndim)))
    if bad.any():
        raise ValueError(
            f"'{name}' is not finite for samples {keys[bad].tolist()[:20]}, though their predictions are: "
            "their labels are damaged."
        )
