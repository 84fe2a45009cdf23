"""What poses are likely: a flow over rotation vectors, learned from the generator's poses, and limits of joints.

assets/pose_prior.npz is written by tools/train_pose_prior.py.

Shapes: B bodies, J joints, D = 3 (J - 1) numbers of a pose, L couplings, n samples.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.fitting.points import Linearised
from hmr_jax.body.fitting.pose import rotation_vectors
from hmr_jax.body.fitting.solver import Equations
from hmr_jax.body.fitting.terms import Limits, of_body_pose
from hmr_jax.geometry.cameras import Array
from hmr_jax.io.research_files import read_contents
from hmr_jax.ops.couplings import Layers, from_normal, to_normal

_ASSET = Path(str(resources.files("hmr_jax"))) / "assets" / "pose_prior.npz"
_LAYERS = 3


class PoseFlow(NamedTuple):
    """The residual is where a flow has the pose in its standard normal: far from 0 for unlikely poses."""

    mean: Array
    """(D,) radians."""
    scale: Array
    """(D, D) lower triangular: whitened poses times it are distances from the mean."""
    whiten: Array
    """(D, D) the inverse of `scale`."""
    masks: Array
    """(L, D)."""
    layers: Layers

    def __call__(self, at: Linearised) -> Equations:
        """The equations of the numbers in the normal."""
        vectors, by_step = rotation_vectors(at.pose.rotations[:, 1:])
        poses = vectors.reshape(len(vectors), -1)
        residual, push = jax.linearize(self.to_normal, poses)
        directions = jnp.eye(poses.shape[1])
        columns = jax.vmap(lambda one: push(jnp.broadcast_to(one, poses.shape)), out_axes=-1)(directions)
        return of_body_pose(at, residual, columns, by_step)

    def to_normal(self, poses: jax.Array) -> jax.Array:
        """Rotation vectors (B, D) -> numbers (B, D), standard normal for poses as likely as those learned."""
        return to_normal((poses - self.mean) @ self.whiten.T, self.masks, self.layers)[0]

    def from_normal(self, numbers: jax.Array) -> jax.Array:
        """The inverse of `to_normal`."""
        return from_normal(numbers, self.masks, self.layers) @ self.scale.T + self.mean


class PosePrior(NamedTuple):
    """The shipped flow and limits."""

    flow: PoseFlow
    limits: Limits


@cache
def load_pose_prior() -> PosePrior:
    """The shipped prior of SMPL's 23 joints but the first. It is read once."""
    stored = {name: array.astype(np.float32) for name, array in read_contents(_ASSET).items()}
    layers = tuple((stored[f"kernel{i}"], stored[f"bias{i}"]) for i in range(1, _LAYERS + 1))
    whiten = np.linalg.inv(stored["scale"].astype(np.float64)).astype(np.float32)
    flow = PoseFlow(stored["mean"], stored["scale"], whiten, stored["masks"], layers)
    return PosePrior(flow, Limits(stored["low"], stored["high"]))
