"""Numba kernels for what XLA does slowly on CPUs.

`hmr_jax.ops` offers them to programs that are lowered for a CPU (`jax.lax.platform_dependent`); all other platforms get
XLA's own operations. `is_plain` turns them off, together with the settings of `hmr_jax.runtime`.
"""

import os

import jax

TRIED = ((0, 10), (0, 12))
"""From which version of jax (included) to which (excluded) kernels and settings for CPUs were tried."""


def is_plain() -> bool:
    """Whether CPUs are to be used as jax uses them by itself: with HMR_JAX_PLAIN=1, or an untried version of jax."""
    return os.environ.get("HMR_JAX_PLAIN", "0") not in ("", "0") or not TRIED[0] <= jax.__version_info__[:2] < TRIED[1]
