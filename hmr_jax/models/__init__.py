"""Flax Linen modules, and the one place that builds them from a configuration."""

import jax
import jax.numpy as jnp

from hmr_jax.body import load_body_model
from hmr_jax.config import ModelConfig
from hmr_jax.models.deforhmr import DeforHMR, DensePretraining


def build_model(config: ModelConfig) -> DeforHMR | DensePretraining:
    """The network of a configuration, without parameters."""
    auto = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    dtype = auto if config.dtype == "auto" else jnp.dtype(config.dtype)
    if config.name == "dense":
        return DensePretraining(config, dtype)
    return DeforHMR(config, load_body_model(config.body), dtype)
