"""Score a prediction under a protocol: points, root, errors of each sample.

Shapes: B batch, P evaluated points, V vertices, J joints, n vertices that a regressor reads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax import metrics
from hmr_jax.body import BodyModel
from hmr_jax.body.kinematics import world_rotations
from hmr_jax.geometry.alignment import fit_similarities, row_sums
from hmr_jax.protocols.protocol import MOTION, Protocol

CONFIDENT = 0.5  # 2-D labels of a higher confidence count (4D-Humans)
FAILED_ANGLE = 180.0  # degrees


class Subject(NamedTuple):
    """One side of a comparison; metres."""

    points: jax.Array
    """(B, P, 3) with the protocol's root at the origin, or (B, P, 2) in units of the crop's side for a 2-D protocol."""
    vertices: jax.Array | None = None
    """(B, V, 3) as posed, not relative to the root: `mesh` is, and is computed only where needed, to save time."""
    root: jax.Array | None = None
    """(B, 3) position of the protocol's root, as posed."""
    orientations: jax.Array | None = None
    """(B, J, 3, 3) rotations of the body parts in camera axes."""

    @property
    def mesh(self) -> jax.Array | None:
        """(B, V, 3) the vertices with the root at the origin."""
        if self.vertices is None or self.root is None:
            return None
        return metrics.root_align(self.vertices, self.root)


def body_subject(
    protocol: Protocol,
    body: BodyModel,
    vertices: jax.Array | None,
    joints: jax.Array | None,
    rotations: jax.Array | None = None,
) -> Subject:
    """The points, vertices and rotations of a body that a protocol compares.

    Args:
        protocol: defines points and root.
        body: whose regressors are used: the neutral one, for prediction and truth.
        vertices: (B, V, 3) camera axes; None where the protocol needs no mesh.
        joints: (B, J, 3) kinematic joints; None where the protocol regresses its points.
        rotations: (B, J, 3, 3) relative to the parent; None: no angular errors.

    Raises:
        ValueError: an input that the protocol needs is missing, or the mesh is not of the body's topology.
    """
    if vertices is not None and vertices.shape[1] != body.num_vertices:
        raise ValueError(
            f"The mesh has {vertices.shape[1]} vertices, but the body of topology '{body.topology}' has "
            f"{body.num_vertices}: prediction and body must have one topology."
        )
    if protocol.needs_vertices and vertices is None:
        raise ValueError(f"Protocol {protocol.name} needs the vertices of a prediction: give them.")
    if protocol.regressor == "kinematic":
        if joints is None:
            raise ValueError(
                f"Protocol {protocol.name} scores kinematic joints, which follow from rotations and betas, not from "
                "vertices alone: give rotations and betas, or choose a protocol that regresses its points."
            )
        points, root = joints[:, np.array(protocol.joints)], joints[:, np.array(protocol.root)].mean(1)
    else:
        assert vertices is not None  # a regressor implies `needs_vertices`
        matrix, ids = regressor_matrix(protocol, body)
        together = jnp.einsum("kn,bnc->bkc", matrix, vertices[:, ids], precision="highest")  # (B, P + 1, 3)
        points, root = together[:, :-1], together[:, -1]
    orientations = None
    if rotations is not None and protocol.angle_parts:
        orientations = world_rotations(body.parents, rotations)[:, np.array(protocol.angle_parts)]
    if not {"pve", "pa_pve"} & set(protocol.metrics):
        vertices = None
    return Subject(metrics.root_align(points, root), vertices, root, orientations)


def keypoint_subject(protocol: Protocol, keypoints: jax.Array, body: Subject | None = None) -> Subject:
    """The keypoints that a protocol compares.

    Args:
        protocol: defines points and root; a 2-D protocol has no root.
        keypoints: (B, 44, 2 or 3).
        body: the source of vertices, which have a root of their own; None: no vertices.
    """
    points = keypoints[:, np.array(protocol.keypoints)]
    if protocol.keypoint_root:
        points = metrics.root_align(points, keypoints[:, np.array(protocol.keypoint_root)].mean(1))
    return Subject(points) if body is None else Subject(points, body.vertices, body.root)


def regressor_matrix(protocol: Protocol, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """(P + 1, n) map from a few vertices to the points and, last, the root; and the (n,) indices of these vertices."""
    dense = body.joint_regressor if protocol.regressor == "body" else body.regressors[protocol.regressor]
    dense = np.asarray(dense, np.float32)
    rows = np.concatenate([dense[list(protocol.joints)], dense[list(protocol.root)].mean(0, keepdims=True)])
    ids = np.flatnonzero(rows.any(0))
    return rows[:, ids], ids


def score(protocol: Protocol, pred: Subject, true: Subject, weights: jax.Array | None = None) -> dict[str, jax.Array]:
    """Errors of each sample; to be jitted.

    A prediction that is not finite has failed: it is scored as if all its points were at the root, with angles of 180
    degrees, and marked as failed, so that means include it and are not NaN.

    Points without confidence count nowhere, whatever prediction and truth hold there.

    Args:
        protocol: defines the errors.
        pred: the prediction.
        true: the truth.
        weights: (B, P) confidence of the true points; None: all count.

    Returns:
        (B,) for each metric of single samples; "per_joint" (B, P), NaN for points that do not count; "failed" (B,)
        0 or 1; "points" (B,) how many counted; "damaged" (B,) whether one that counts is not finite in the truth; in
        3-D "extent" (B,), the largest extent of the true points along an axis, metres; and for protocols with motion
        "pred_points" and "true_points" (B, P, 3), 0 where they do not count, and "labelled" (B, P).
    """
    if pred.points.shape != true.points.shape:
        raise ValueError(f"The prediction has points {pred.points.shape}, the truth {true.points.shape}.")
    counted = jnp.ones(true.points.shape[:2], bool)
    if weights is not None:
        counted = weights > (CONFIDENT if protocol.space == "2d" else 0)
        weights = jnp.where(counted, weights, 0)
        pred, true = (side._replace(points=jnp.where(counted[..., None], side.points, 0)) for side in (pred, true))
    failed = jnp.zeros(len(pred.points), bool)
    for part in pred:
        if part is not None:
            failed |= ~jnp.isfinite(row_sums(part.reshape(len(part), -1)))  # a sum is finite if all terms are
    points = jnp.where(failed[:, None, None], 0, pred.points)
    rows = {
        "failed": failed.astype(jnp.float32),
        "points": counted.sum(1).astype(jnp.float32),
        "damaged": ~jnp.isfinite(true.points).all((1, 2)),
    }
    if protocol.space == "2d":
        if weights is None:
            raise ValueError(f"Protocol {protocol.name} needs the confidence of the labels: give it as weights.")
        return rows | _score_2d(protocol, points, true.points, counted, failed)

    wanted = set(protocol.metrics)
    found: dict[str, jax.Array] = {}
    distances = metrics.per_joint_error(points, true.points)
    found["mpjpe"] = 1000 * metrics.weighted_mean(distances, weights)
    pairs: list[tuple[jax.Array, jax.Array, jax.Array | None]] = [(points, true.points, weights)]
    if pred.mesh is not None and true.mesh is not None:
        vertices, labelled = jnp.where(failed[:, None, None], 0, pred.mesh), true.mesh
        found["pve"] = metrics.pve(vertices, labelled)
        pairs += [(vertices, labelled, None)] if "pa_pve" in wanted and protocol.pa_pve == "vertices" else []
    similarity, *others = fit_similarities(*pairs)
    aligned = similarity(points)
    found["pa_mpjpe"] = metrics.mpjpe(aligned, true.points, weights)
    if "pve" in found and "pa_pve" in wanted:
        found["pa_pve"] = metrics.pve((others or [similarity])[0](vertices), labelled)
    if "mpjpe_z" in wanted:
        found["mpjpe_z"] = metrics.depth_error(points, true.points, weights)
        found["pa_mpjpe_z"] = metrics.depth_error(aligned, true.points, weights)
    if protocol.pck is not None:
        limit = jnp.where(failed[:, None], jnp.inf, 1000 * distances)
        chosen = np.array(protocol.pck_joints or range(len(protocol.joints)))
        shares = None if weights is None else weights[:, chosen]
        found["pck"] = metrics.pck(limit[:, chosen], protocol.pck, shares)
        if protocol.auc is not None:
            found["auc"] = metrics.auc(limit[:, chosen], np.linspace(*protocol.auc), shares)
    if pred.orientations is not None and true.orientations is not None:
        found["mpjae"] = metrics.mpjae(pred.orientations, true.orientations)
        found["pa_mpjae"] = metrics.pa_mpjae(pred.orientations, true.orientations, similarity.rotation)
        for name in ("mpjae", "pa_mpjae"):
            found[name] = jnp.where(failed, FAILED_ANGLE, found[name])
    rows |= {name: found[name] for name in protocol.metrics if name in found}
    rows |= {"per_joint": jnp.where(counted, 1000 * distances, jnp.nan), "extent": _extent(true.points, counted)}
    if wanted & MOTION.keys():
        rows |= {"pred_points": points, "true_points": true.points, "labelled": counted}
    return rows


def _score_2d(
    protocol: Protocol, points: jax.Array, true: jax.Array, counted: jax.Array, failed: jax.Array
) -> dict[str, jax.Array]:
    distances = jnp.where(failed[:, None], jnp.inf, metrics.per_joint_error(points, true))
    rows = {
        name: metrics.pck(distances, getattr(protocol, name), counted) for name in ("pck", "pck_tight")
        if name in protocol.metrics
    }  # fmt: skip
    return rows | {"per_joint": jnp.where(counted, jnp.where(failed[:, None], 1.0, distances), jnp.nan)}


def _extent(points: jax.Array, counted: jax.Array) -> jax.Array:
    """(B, P, 3) points and (B, P) which count -> (B,) their largest extent along an axis; 0 where none does."""
    known = counted[..., None]
    high, low = jnp.where(known, points, -jnp.inf).max(1), jnp.where(known, points, jnp.inf).min(1)
    return jnp.where(counted.any(1), (high - low).max(1), 0)
