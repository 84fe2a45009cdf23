"""Numba kernels for what XLA does slowly on CPUs; `hmr_jax.ops` chooses them where a program is lowered for one."""
