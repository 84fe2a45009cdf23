"""Skinning of the built-in body beside smplx's linear blend skinning: `python -m benchmarks.skinning`."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from smplx.lbs import lbs

from benchmarks.timing import Comparison, compare, show
from hmr_jax import runtime
from hmr_jax.body import load_body_model, skin
from hmr_jax.geometry import axis_angle_to_matrix

BATCH, REQUIRED = 64, 1 / 2


def main() -> None:
    """Prints the table."""
    runtime.set_up_cpu(inference=True)  # as predict.py does
    show("body.skin, 6,890 vertices", "smplx lbs", [measure()])


def measure() -> Comparison:
    """Compares the forward passes, from betas and rotation matrices, after checking that they agree."""
    body = load_body_model()
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((BATCH, body.num_betas), np.float32)
    pose = 0.3 * rng.standard_normal((BATCH, body.num_joints, 3), np.float32)
    rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(pose)))

    # The model's arrays in smplx's order of axes: pose blendshapes are (9 (J - 1), 3 V).
    posedirs = np.ascontiguousarray(body.posedirs.reshape(3 * body.num_vertices, -1).T)
    arrays = (betas, rotations, body.v_template, body.shapedirs, posedirs, body.joint_regressor)
    tensors = [torch.tensor(np.asarray(x, np.float32)) for x in arrays]
    parents, weights = torch.tensor(body.parents), torch.tensor(body.skinning_weights)

    @torch.no_grad()
    def other() -> torch.Tensor:
        return lbs(*tensors, parents, weights, pose2rot=False)[0]

    step = jax.jit(lambda betas, rotations: skin(body, betas, rotations).vertices)
    inputs = jnp.asarray(betas), jnp.asarray(rotations)
    np.testing.assert_allclose(step(*inputs), other().numpy(), atol=1e-4)
    return compare(f"batch {BATCH}", lambda: step(*inputs), other, REQUIRED)


if __name__ == "__main__":
    main()
