"""Eight fake CPU devices and exact matrix products for every test."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")

DATA = Path(__file__).parent / "data"


@pytest.fixture
def reference():
    """Loads a reference case of tests/data by its name."""
    return lambda name: dict(np.load(DATA / f"{name}.npz"))
