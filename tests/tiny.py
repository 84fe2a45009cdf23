"""A DeforHMR and a D2A-HMR small enough for tests, and batches for them."""

import dataclasses

import jax
import numpy as np

from hmr_jax.batch import zeros
from hmr_jax.config import (
    CheckpointConfig,
    Config,
    D2AConfig,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
)
from hmr_jax.models import build_model

MODEL = ModelConfig(
    encoder=EncoderConfig(image_size=(32, 32), dim=16, depth=2, num_heads=2),
    decoder=DecoderConfig(dim=16, depth=1, num_heads=2, head_dim=8, mlp_dim=16, offset_groups=2, offset_kernel=3),
)


def config(output, **changes) -> Config:
    tiny = Config(
        name="tiny", output=str(output), steps=4, batch_size=8, log_every=2, eval_every=0, model=MODEL,
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=2, random_frozen=True), data=DataConfig(crop_size=32),
        checkpoint=CheckpointConfig(every=2, keep=2),
    )  # fmt: skip
    return dataclasses.replace(tiny, **changes)


def random_parameters(config: Config) -> dict:
    """Parameters large enough that the prediction depends on the image; compiling `init` would take longer."""
    init = build_model(config.model).init
    shapes = jax.eval_shape(init, jax.random.key(0), zeros(1, config.data.crop_size))["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: (0.2 * rng.standard_normal(leaf.shape)).astype(np.float32), shapes)
    params["head"]["mean_camera"] = np.float32([0.9, 0, 0])
    params["head"]["camera"]["kernel"] *= 0.1
    return params


def batch(step: int, size: int = 8, crop: int = 32) -> dict[str, np.ndarray]:
    """Random but plausible labels, a pure function of the step."""
    rng = np.random.default_rng(step)
    made = zeros(size, crop)
    made["image"][:] = rng.integers(0, 256, made["image"].shape)
    made["keypoints_2d"][:] = np.concatenate([rng.uniform(-0.5, 0.5, (size, 44, 2)), np.ones((size, 44, 1))], -1)
    made["keypoints_3d"][:] = np.concatenate([rng.normal(0, 0.3, (size, 44, 3)), np.ones((size, 44, 1))], -1)
    made["pose"][:] = rng.normal(0, 0.3, (size, 24, 3))
    made["betas"][:] = rng.normal(0, 1, (size, 10))
    made["has_pose"][:] = made["has_betas"][:] = made["valid"][:] = 1
    made["index"][:] = step * size + np.arange(size)
    return made


def source(size: int = 8, end: int | None = None):
    """A BatchSource of `batch`."""

    def batches(step):
        while end is None or step < end:
            yield batch(step, size)
            step += 1

    return batches


D2A = ModelConfig(
    name="d2a_hmr",
    encoder=EncoderConfig(image_size=(32, 32), dim=16, depth=1, num_heads=2),
    d2a=D2AConfig(
        depth_encoder=EncoderConfig(name="conv", image_size=(32, 32), dim=16),
        dim=16, depth=1, num_heads=2, mlp_dim=32, head_dim=16, head_depth=1, head_heads=2, silhouette=(8, 8),
    ),
    uncertainty=True,
)  # fmt: skip
D2A_LOSS = LossConfig(vertices=1.0, silhouette=1.0, rle=1.0)


def d2a_config(output, **changes) -> Config:
    return config(output, **({"model": D2A, "loss": D2A_LOSS} | changes))


def d2a_batch(step: int, size: int = 8, crop: int = 32) -> dict[str, np.ndarray]:
    """`batch` with depth and a mask in every second sample."""
    rng = np.random.default_rng(1000 + step)
    has = (np.arange(size) % 2).astype(np.float32)
    return batch(step, size, crop) | {
        "pseudo_depth": rng.integers(0, 256, (size, crop, crop), np.uint8),
        "has_pseudo_depth": has,
        "mask": rng.integers(0, 2, (size, 10, 10)).astype(np.uint8),
        "has_mask": has,
    }


def d2a_source(size: int = 8, end: int | None = None):
    """A BatchSource of `d2a_batch`."""

    def batches(step):
        while end is None or step < end:
            yield d2a_batch(step, size)
            step += 1

    return batches
