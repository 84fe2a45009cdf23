"""Training: from a configuration and batches to checkpoints."""

from hmr_jax.training.loop import train

__all__ = ["train"]
