"""Settings of the process: XLA's flags, memory, and where compiled programs are kept.

HMR_JAX_PLAIN=1 turns off everything that is specific to CPUs: flags and memory here, and the kernels of
`hmr_jax.ops.cpu`. So does a version of jax on which they were not tested. On accelerators none of it applies.
"""

import ctypes
import importlib.util
import logging
import os
import sys

import jax

from hmr_jax.io.cache import cache_folder
from hmr_jax.ops.cpu import is_plain


def set_up(inference: bool = False) -> None:
    """Run first by every command: sets CPUs up, silences Orbax's notices and keeps compiled programs on disk.

    Checks for users' own programs that this one, and Flax, would not pass (JAX_NUMPY_RANK_PROMOTION) are turned off.

    The programs are in HMR_JAX_CACHE or ~/.cache/hmr_jax; HMR_JAX_CACHE="" keeps none. `inference` is for commands
    that compute no gradients.
    """
    set_up_cpu(inference)
    logging.getLogger("absl").setLevel(logging.ERROR)
    jax.config.update("jax_numpy_rank_promotion", "allow")
    if directory := cache_folder():
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def set_up_cpu(inference: bool = False) -> None:
    """Memory and flags for CPUs, if jax has no other devices; call it before jax is first used."""
    if not is_plain() and not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu")):
        keep_freed_memory()
        choose_kernels(inference)


def choose_kernels(inference: bool = False) -> None:
    """Selects XLA's faster kernels for CPUs; flags that XLA_FLAGS sets already stay (measured in docs/results.md).

    Convolutions use Eigen: YNNPACK's run on one thread for 64 channels or fewer. Matrix products use Eigen in inference
    only; in training YNNPACK is faster, as it reads transposed matrices without a copy. Sums and maxima stay with
    YNNPACK, which takes half the time. Kernels come from XLA's older generator while jaxlib has it: the newer one
    compiles each kernel as a module of its own, which takes longer, and its kernels are slower.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    by_eigen = ["CONVOLUTION", "DOT"] if inference else ["CONVOLUTION"]
    without = ",".join(f"-LIBRARY_FUSION_TYPE_INDIVIDUAL_{kind}" for kind in by_eigen)
    chosen = {"xla_cpu_experimental_ynn_fusion_type": without}
    if jax.__version_info__ < (0, 11):  # jaxlib 0.11 ends the process at a flag that it does not know
        chosen["xla_cpu_use_fusion_emitters"] = "false"
    ours = [f"--{name}={value}" for name, value in chosen.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *ours]).strip()


def keep_freed_memory() -> None:
    """Lets this process use its freed memory again instead of asking the system for new pages.

    On CPUs, XLA allocates its temporary arrays again for every run of a program. glibc takes large ones from the system
    and returns them each time, so a training step begins with tens of thousands of page faults. Does nothing with
    another C library, or if glibc's own variables (MALLOC_ARENA_MAX and others) are set. Not for accelerators: their
    programs are compiled by many threads, which would wait for each other at the single arena.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


# Keys are constants of glibc's malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD and M_ARENA_MAX. Only the main
# arena can hold arrays of over 64 MiB.
_MALLOC_OPTIONS = {-3: 2**30, -1: 2**31 - 1, -2: 2**26, -8: 1}
