"""Exact matrix products for every test, and eight fake CPU devices for those that ask for them."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Tests compile far more than they compute.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
).strip()

import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
# The same tiny programs are compiled again and again: keep them for the time of the session.
_CACHE = tempfile.TemporaryDirectory(prefix="hmr_jax_tests_")
os.environ.setdefault("HMR_JAX_CACHE", _CACHE.name)
jax.config.update("jax_compilation_cache_dir", os.environ["HMR_JAX_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

from hmr_jax import distributed, runtime  # noqa: E402  (the environment first)

runtime.choose_kernels()
_make_mesh = distributed.make_mesh
distributed.make_mesh = lambda config, devices=None: _make_mesh(config, devices or jax.devices()[:1])

DATA = Path(__file__).parent / "data"


LONG = ("test_train.py", "test_transformations.py", "test_predict.py", "test_d2a_train.py")


def pytest_collection_modifyitems(items):
    """The longest files first: one that comes last keeps one process busy while the other has nothing to do."""
    items.sort(key=lambda item: "slow" not in item.keywords and item.path.name not in LONG)


@pytest.fixture
def reference():
    """Loads a reference case of tests/data by its name."""
    return lambda name: dict(np.load(DATA / f"{name}.npz"))


@pytest.fixture
def every_device(monkeypatch):
    """All eight devices for a test that is about them; the others use one, for which programs compile much faster."""
    monkeypatch.setattr(distributed, "make_mesh", _make_mesh)


@pytest.fixture(scope="module")
def dots_dir(tmp_path_factory):
    """A folder with the data sets of dots.py."""
    import dots  # and with it TensorFlow

    with dots.built(tmp_path_factory.mktemp("data")) as directory:
        yield directory


@pytest.fixture(scope="module")
def people_files(tmp_path_factory) -> tuple[Path, Path]:
    """The truth file and the predictions of scored_people.py."""
    from scored_people import write_files

    return write_files(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def scored(people_files, tmp_path_factory):
    """Their result."""
    from scored_people import score_file

    return score_file(people_files, tmp_path_factory.mktemp("scored") / "a.json")
