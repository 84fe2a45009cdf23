"""Configurations: an experiment and its parts as frozen, documented dataclasses; no computation."""

from hmr_jax.config.checks import check_training, check_types
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.config.experiment import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DatasetConfig,
    DepthCorruptionConfig,
    FeatureCacheConfig,
    LossConfig,
    MeshConfig,
    OptimConfig,
    from_dict,
    to_dict,
    training_mixture,
)
from hmr_jax.config.model import D2AConfig, DecoderConfig, EncoderConfig, ModelConfig

__all__ = [
    "AugmentConfig",
    "CheckpointConfig",
    "Config",
    "D2AConfig",
    "DataConfig",
    "DatasetConfig",
    "DecoderConfig",
    "DepthAnythingConfig",
    "DepthCorruptionConfig",
    "EncoderConfig",
    "FeatureCacheConfig",
    "LossConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimConfig",
    "check_training",
    "check_types",
    "from_dict",
    "to_dict",
    "training_mixture",
]
