"""The folder for results that are kept between runs and can be computed again."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """HMR_JAX_CACHE, or ~/.cache/hmr_jax; None where HMR_JAX_CACHE is "", which disables caches."""
    folder = os.environ.get("HMR_JAX_CACHE", "~/.cache/hmr_jax")
    return Path(folder).expanduser() if folder else None
