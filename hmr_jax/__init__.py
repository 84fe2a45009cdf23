"""Human mesh recovery in JAX/Flax."""

__version__ = "0.1.0"
