"""Benchmarks are not run by tests, but what they import must be there."""

import importlib
from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in Path("benchmarks").glob("*.py") if not path.stem.startswith("__"))
EXTRA = {"torch", "timm", "smplx", "transformers", "cv2"}  # of the extra "bench"


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported(name):
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        pytest.skip(f"needs {error.name}")
