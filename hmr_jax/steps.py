"""One training step and one evaluation step as pure functions.

Letters: B batch, K keypoints, V vertices.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from hmr_jax import losses, metrics
from hmr_jax.batch import Batch, Prediction
from hmr_jax.body.joints import EVALUATION_14_OF_44, PELVIS_44
from hmr_jax.config import Config, LossConfig
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.mixture import contributions
from hmr_jax.models.deforhmr import DeforHMR, pose_body
from hmr_jax.optim import Params, make_optimizer, update_ema

Scalars = dict[str, jax.Array]


@struct.dataclass
class TrainState:
    """Everything that training changes."""

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    ema: Params | None


def init_state(config: Config, params: Params) -> TrainState:
    """Trained parameters -> state at step 0."""
    ema = jax.tree.map(jnp.copy, params) if config.optim.ema else None
    return TrainState(jnp.zeros((), jnp.int32), params, make_optimizer(config).init(params), ema)


def make_train_step(config: Config, model: nn.Module) -> Callable[..., tuple[TrainState, Scalars]]:
    """(state, frozen, batch) -> (state, scalars); to be jitted. Frozen parameters get no gradient and no state."""
    optimizer = make_optimizer(config)
    accumulate = config.optim.accumulate

    def loss_of(params: Params, frozen: Params, batch: Batch, rng: jax.Array):
        output = model.apply({"params": params | frozen}, batch, train=True, rngs={"dropout": rng})
        parts = sample_losses(config.loss, output, batch)
        means = {name: jnp.sum(loss * batch["valid"]) / len(loss) for name, loss in parts.items()}
        total = sum(getattr(config.loss, name) * mean for name, mean in means.items())
        return total, {"loss": total, **means, **contributions(config, parts, batch)}

    gradients_of = jax.value_and_grad(loss_of, has_aux=True)

    def train_step(state: TrainState, frozen: Params, batch: Batch) -> tuple[TrainState, Scalars]:
        rng = jax.random.fold_in(jax.random.key(config.seed), state.step)
        # Strided, so that each micro-batch takes equally from every device's part.
        micro = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1), batch)

        def one(index):
            part = jax.tree.map(lambda x: x[index], micro)
            (_, scalars), gradients = gradients_of(state.params, frozen, part, jax.random.fold_in(rng, index))
            return scalars, gradients

        total = jax.lax.fori_loop(1, accumulate, lambda i, total: jax.tree.map(jnp.add, total, one(i)), one(0))
        scalars, gradients = jax.tree.map(lambda x: x / accumulate, total)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = update_ema(config.optim, state.ema, params)
        scalars["gradient_norm"] = optax.global_norm(gradients)
        return TrainState(state.step + 1, params, opt_state, ema), scalars

    return train_step


def sample_losses(config: LossConfig, output: Any, batch: Batch) -> Scalars:
    """Unweighted losses (B,) of a model's output, named as in `LossConfig`."""
    if isinstance(output, Prediction):
        rotations = axis_angle_to_matrix(batch["pose"])
        return {
            "keypoints_2d": losses.keypoint_2d_loss(output.keypoints_2d, batch["keypoints_2d"]),
            "keypoints_3d": losses.keypoint_3d_loss(output.keypoints_3d, batch["keypoints_3d"]),
            "global_orient": losses.parameter_loss(output.global_orient, rotations[:, :1], batch["has_pose"]),
            "body_pose": losses.parameter_loss(output.body_pose, rotations[:, 1:], batch["has_pose"]),
            "betas": losses.parameter_loss(output.betas, batch["betas"], batch["has_betas"]),
        }
    target = dense_targets(output, batch)
    return {
        "heatmaps": losses.heatmap_loss(output["heatmaps"], batch["keypoints_2d"]),
        "parts": losses.part_loss(output["parts"], target["parts"], batch["has_parts"]),
        "depth": losses.depth_loss(output["depth"], target["depth"], target["parts"], batch["has_depth"]),
    }


def dense_targets(output: Scalars, batch: Batch) -> dict[str, jax.Array]:
    """The centre columns of the dense maps: those that the encoder sees."""
    width, side = output["depth"].shape[2], batch["depth"].shape[2]
    left = (side - width) // 2
    return {name: batch[name][:, :, left : left + width] for name in ("parts", "depth")}


def make_eval_step(model: nn.Module) -> Callable[..., tuple[Scalars, Any]]:
    """(params, batch) -> (errors per sample, output); to be jitted."""

    def eval_step(params: Params, batch: Batch) -> tuple[Scalars, Any]:
        output: Any = model.apply({"params": params}, batch, train=False)
        if isinstance(model, DeforHMR):
            label: Any = pose_body(
                model.body, axis_angle_to_matrix(batch["pose"]), batch["betas"], output.camera, 1.0, vertices=True
            )
            errors = body_errors(
                output.keypoints_3d, output.vertices, batch["keypoints_3d"][..., :3], label.vertices,
                label.keypoints_3d[:, PELVIS_44],
            )  # fmt: skip
            return errors, output
        return dense_errors(output, batch), output

    return eval_step


def body_errors(
    keypoints: jax.Array, vertices: jax.Array, true_keypoints: jax.Array, true_vertices: jax.Array, true_root: jax.Array
) -> Scalars:
    """Errors in millimetres over HMR2.0's 14 evaluation joints, pelvis-aligned.

    Args:
        keypoints: (B, 44, 3) predicted.
        vertices: (B, V, 3) predicted, in the axes of `keypoints`.
        true_keypoints: (B, 44, 3).
        true_vertices: (B, V, 3) in their own axes' origin.
        true_root: (B, 3) pelvis keypoint in the axes of `true_vertices`.

    Returns:
        "mpjpe", "pa_mpjpe", "pve" (B,) and "per_joint" (B, 14).
    """
    joints = jnp.array(EVALUATION_14_OF_44)
    root, label_root = keypoints[:, PELVIS_44], true_keypoints[:, PELVIS_44]
    pred = metrics.root_align(keypoints[:, joints], root)
    true = metrics.root_align(true_keypoints[:, joints], label_root)
    return {
        "mpjpe": metrics.mpjpe(pred, true),
        "pa_mpjpe": metrics.pa_mpjpe(pred, true),
        "pve": metrics.pve(metrics.root_align(vertices, root), metrics.root_align(true_vertices, true_root)),
        "per_joint": 1000 * metrics.per_joint_error(pred, true),
    }


def dense_errors(output: Scalars, batch: Batch) -> Scalars:
    """Errors of the dense heads per sample: keypoints in crop pixels of 256, parts wrong, depth in millimetres."""
    target = dense_targets(output, batch)
    points = losses.heatmap_points(output["heatmaps"])
    distance = jnp.linalg.norm(points - batch["keypoints_2d"][..., :2], axis=-1) * 256
    limit = jnp.array([output["depth"].shape[2], output["depth"].shape[1]]) / (2 * output["depth"].shape[1])
    inside = (jnp.abs(batch["keypoints_2d"][..., :2]) <= limit).all(-1)
    wrong = (jnp.argmax(output["parts"], -1) != target["parts"]).mean((1, 2))
    return {
        "keypoint_error": jnp.sum(distance * inside, 1) / jnp.maximum(inside.sum(1), 1),
        "part_error": wrong,
        "depth_error": 1000 * losses.depth_loss(output["depth"], target["depth"], target["parts"], batch["has_depth"]),
    }
