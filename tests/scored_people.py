"""A truth file of 37 people in five sequences, predictions for them, and their result."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body import joint_set_matrix, load_body_model, skin
from hmr_jax.evaluation import commands
from hmr_jax.evaluation.commands import Settings
from hmr_jax.geometry import axis_angle_to_matrix

KEYS = np.array([f"walk_{number // 8}/{number % 8:03d}" for number in range(37)])


def write_files(folder: Path) -> tuple[Path, Path]:
    """The truth, and predictions in another order."""
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.3, (37, 24, 3)).astype(np.float32), rng.normal(0, 1, (37, 10)).astype(np.float32)
    body = load_body_model()
    matrix, ids = joint_set_matrix(body, "keypoints_44")
    posed = jax.jit(skin)(body, betas, axis_angle_to_matrix(jnp.asarray(pose)))
    keypoints = np.einsum("kn,bnc->bkc", matrix, np.concatenate([posed.joints, posed.vertices[:, ids]], 1))
    labelled = np.concatenate([keypoints, np.ones((37, 44, 1))], -1).astype(np.float32)
    np.savez(folder / "truth.npz", keys=KEYS, topology="hmr-default", pose=pose, betas=betas, keypoints_3d=labelled)
    order = rng.permutation(37)
    noisy = (pose + rng.normal(0, 0.1, pose.shape)).astype(np.float32)
    np.savez(
        folder / "mine.npz", keys=KEYS[order], topology="hmr-default", pose=noisy[order].reshape(37, 72),
        betas=betas[order], sigma=np.full((37, 44), 0.05, np.float32),
    )  # fmt: skip
    return folder / "truth.npz", folder / "mine.npz"


def settings(truth, output, **changes) -> Settings:
    plain = Settings(str(truth), "", 0, 16, None, False, output, False)
    return dataclasses.replace(plain, **changes)


def score_file(files, output, predictions=None, **changes):
    (outcome,) = commands.run(
        [], [predictions or files[1]], ["synthetic"], settings(files[0], output, **changes), lambda *_: None
    )
    return outcome
