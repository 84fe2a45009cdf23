"""The body model as data: one frozen container for the built-in body and for users' SMPL files.

Shapes: V vertices, F faces, J joints, S shape coefficients (betas).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

Array = jax.Array | np.ndarray


@dataclass(frozen=True)
class BodyModel:
    """A linear-blend-skinned body with shape and pose blendshapes (SMPL's formulation, Loper et al. 2015).

    Units are metres; rest pose is a T-pose, Y up, facing +Z, the body's left on +X. Registered as a JAX pytree, so it
    can be an argument of a jitted function; names and topology are static.
    """

    v_template: Array
    """(V, 3) rest vertices at betas = 0."""
    shapedirs: Array
    """(V, 3, S) displacement per unit of each beta, metres."""
    posedirs: Array
    """(V, 3, 9 (J - 1)) displacement per entry of R_j - I, joints 1.., rotation entries row-major."""
    joint_regressor: Array
    """(J, V) joints from shaped rest vertices."""
    skinning_weights: Array
    """(V, J), each row sums to 1."""
    parents: tuple[int, ...]
    """(J,) parent of each joint, -1 for the root; parents come before children."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise seen from outside."""
    topology: str
    """What the vertex indices mean, such as "smpl" or "hmr-default"; two topologies are never mixed."""
    landmarks: np.ndarray | None = None
    """(21,) int32 vertex indices of `joints.LANDMARKS_21`."""
    regressors: dict[str, Array] = field(default_factory=dict)
    """Extra joint regressors by name: "j19" (19, V) of `joints.J19`, "h36m" (17, V) of `joints.H36M_17`."""

    @property
    def num_vertices(self) -> int:
        """V."""
        return self.v_template.shape[0]

    @property
    def num_joints(self) -> int:
        """J."""
        return self.joint_regressor.shape[0]

    @property
    def num_betas(self) -> int:
        """S."""
        return self.shapedirs.shape[2]


class _Static:
    """Wraps a NumPy array so that it can be part of a pytree's hashable static data (compared by content).

    Made whenever a body is passed to a jitted function, so neither the constructor nor the hash reads the content.
    """

    def __init__(self, array: np.ndarray | None):
        self.array = array

    def __hash__(self) -> int:
        return hash(None if self.array is None else self.array.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static):
            return False
        if self.array is None or other.array is None:
            return self.array is other.array
        return self.array is other.array or np.array_equal(self.array, other.array)


def _flatten(model: BodyModel) -> tuple[tuple[Array, ...], tuple]:
    names = tuple(sorted(model.regressors))
    arrays = (model.v_template, model.shapedirs, model.posedirs, model.joint_regressor, model.skinning_weights)
    leaves = (*arrays, *(model.regressors[name] for name in names))
    return leaves, (model.parents, _Static(model.faces), model.topology, _Static(model.landmarks), names)


def _unflatten(static: tuple, leaves: Sequence[Array]) -> BodyModel:
    parents, faces, topology, landmarks, names = static
    regressors = dict(zip(names, leaves[5:], strict=True))
    v_template, shapedirs, posedirs, joint_regressor, weights = leaves[:5]
    return BodyModel(
        v_template, shapedirs, posedirs, joint_regressor, weights, parents, faces.array, topology, landmarks.array,
        regressors,
    )  # fmt: skip


jax.tree_util.register_pytree_node(BodyModel, _flatten, _unflatten)
