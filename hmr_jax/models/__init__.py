"""Flax Linen modules, and `build_model`, which builds them from a configuration."""

import jax
import jax.numpy as jnp

from hmr_jax.body import find_body, load_coarse_mesh
from hmr_jax.config import ModelConfig
from hmr_jax.models.d2a_hmr import D2AHMR
from hmr_jax.models.deforhmr import DeforHMR, DensePretraining
from hmr_jax.models.encoders import finds_landmarks

DEPTH_MODELS = ("d2a_hmr",)
"""Names of the models that read "pseudo_depth" and "has_pseudo_depth" of a batch."""


def needs_depth(config: ModelConfig) -> bool:
    """Whether a model takes depth in addition to the image."""
    return config.name in DEPTH_MODELS


def build_model(config: ModelConfig, platform: str | None = None) -> DeforHMR | D2AHMR | DensePretraining:
    """The network of a configuration, without parameters.

    Args:
        config: what to build.
        platform: "cpu", "cuda" or "tpu", on which it will run; it decides the computation type if that is "auto", and
            whether repeated blocks are unrolled. None: the platform of this process.

    Raises:
        ValueError: if the two encoders of D2A-HMR take images of different sizes, or landmarks are asked for that the
            encoder does not find, or the attention is none of the platform.
    """
    platform = platform or jax.default_backend()
    cpu = platform == "cpu"
    auto = jnp.float32 if cpu else jnp.bfloat16
    dtype = auto if config.dtype == "auto" else jnp.dtype(config.dtype)
    if config.attention == "cudnn" and (platform not in ("gpu", "cuda") or dtype == jnp.float32):
        raise ValueError(
            f"model.attention 'cudnn' needs an NVIDIA GPU and bfloat16, not {platform} and {dtype}: set it to 'xla'."
        )
    if config.name == "dense":
        return DensePretraining(config, dtype, cpu)
    body = find_body(config.body, config.body_content)
    if config.name == "d2a_hmr":
        sizes = config.encoder.image_size, config.d2a.depth_encoder.image_size
        if config.d2a.depth_stream == "own" and sizes[0] != sizes[1]:
            raise ValueError(
                f"model.encoder.image_size is {sizes[0]} but model.d2a.depth_encoder.image_size is {sizes[1]}: both "
                "streams see the same part of the crop."
            )
        coarse = load_coarse_mesh(body) if config.d2a.head == "vertices" else None
        return D2AHMR(config, body, coarse, dtype, cpu)
    if config.decoder.landmarks and not finds_landmarks(config.encoder):
        raise ValueError(
            f"The encoder '{config.encoder.name}' finds no landmarks: set model.decoder.landmarks to false, or choose "
            "a BlazePose encoder."
        )
    return DeforHMR(config, body, dtype, cpu)
