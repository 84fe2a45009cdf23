"""Numba kernels for operations that are slow in XLA on CPUs.

`hmr_jax.ops` uses them in programs that are lowered for a CPU (`jax.lax.platform_dependent`); all other platforms use
XLA's own operations. `is_plain` disables them, together with the settings of `hmr_jax.runtime`, and `portable` disables
them in programs that are exported.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator

import jax

TRIED_VERSIONS = ((0, 10), (0, 12))
"""First version of jax with which kernels and settings for CPUs were tried, and the first with which they were not."""


def is_plain() -> bool:
    """Whether jax is left as it is on CPUs: with HMR_JAX_PLAIN=1, or with a version of jax that was not tried."""
    first, end = TRIED_VERSIONS
    return os.environ.get("HMR_JAX_PLAIN", "0") not in ("", "0") or not first <= jax.__version_info__[:2] < end


_portable = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Programs that are traced in this block, by this thread, call no kernel of ours: another process can run them."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def is_portable() -> bool:
    """Whether the program that is traced now is to run outside of this process."""
    return _portable.get()
