"""The folders for results that are kept between runs and can be computed again."""

import functools
import os
from pathlib import Path


def cache_folder() -> Path | None:
    """HMR_JAX_CACHE, or ~/.cache/hmr_jax, made if it is missing.

    None where HMR_JAX_CACHE is "", which disables caches, or where nothing can be written there.
    """
    name = os.environ.get("HMR_JAX_CACHE", "~/.cache/hmr_jax")
    try:
        folder = Path(name).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter of a user without a home
        return None
    return folder if name and os.access(folder, os.W_OK) else None


@functools.cache
def keeps_compiled() -> bool:
    """Whether Numba finds a folder for what it compiles: none in a read-only installation without a home."""
    import numba

    try:
        numba.njit(cache=True)(lambda: None)  # looks for the folder, and compiles nothing
    except RuntimeError:
        return False
    return True
