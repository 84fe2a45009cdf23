"""The discriminator of the adversarial prior: does a pose and shape look like a person's? (HMR, Kanazawa et al. 2018.)

It is not part of the networks that predict bodies: training keeps its parameters beside theirs, with an optimiser of
its own, and prediction does not need it. Its losses are in `hmr_jax.losses.adversarial`.

Shapes: B batch, J joints without the root, S betas.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

CHANNELS = 32  # of a joint
WIDTH = 1024  # of the layers that see all joints
BETAS = (10, 5)  # widths of the layers that see the betas


class Discriminator(nn.Module):
    """One score for each joint's rotation, one for the betas, and one for all rotations together: 1 is real, 0 is not.

    HMR2.0's, in float32: two layers that all joints share, then one linear read-out for each joint; two layers on the
    betas; two layers on the joints' features side by side.
    """

    @nn.compact
    def __call__(self, body_pose: jax.Array, betas: jax.Array) -> jax.Array:
        """Scores of bodies.

        Args:
            body_pose: (B, J, 3, 3) rotations relative to the parent, without the global orientation; 23 for SMPL.
            betas: (B, S).

        Returns:
            (B, J + 2): each joint's, the betas', and that of all joints.
        """
        batch, joints = body_pose.shape[:2]
        x = body_pose.reshape(batch, joints, 9).astype(jnp.float32)
        for layer in range(2):
            x = nn.relu(_dense(CHANNELS, f"joint_{layer}")(x))
        # Kernels of the read-outs by joint: (J, channels, 1), each drawn as that of a layer.
        drawn = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", batch_axis=0)
        kernel = self.param("joint_out_kernel", drawn, (joints, CHANNELS, 1))
        bias = self.param("joint_out_bias", nn.initializers.zeros_init(), (joints,))
        each = jnp.einsum("bjc,jc->bj", x, kernel[..., 0]) + bias
        shape = betas.astype(jnp.float32)
        for layer, width in enumerate(BETAS):
            shape = nn.relu(_dense(width, f"betas_{layer}")(shape))
        x = x.reshape(batch, -1)
        for layer in range(2):
            x = nn.relu(_dense(WIDTH, f"all_{layer}")(x))
        return jnp.concatenate([each, _dense(1, "betas_out")(shape), _dense(1, "all_out")(x)], axis=1)


def _dense(width: int, name: str) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.xavier_uniform(), name=name)
