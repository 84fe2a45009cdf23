"""Benchmarks are not run by tests, but what they import from the project must be there."""

import ast
import importlib
from pathlib import Path

import pytest

OURS = {"configs", "data_pipelines", "hmr_jax", "tools"}
FILES = sorted(Path("benchmarks").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_benchmark_imports_is_there(file):
    # Read, not imported: several need PyTorch, which is not installed for tests.
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in modules:
            if module.partition(".")[0] in OURS:
                owner = importlib.import_module(module)
                if name is not None and not hasattr(owner, name):
                    importlib.import_module(f"{module}.{name}")  # a submodule, or an error
