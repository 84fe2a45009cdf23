"""Imports go down only, hmr_jax stays free of TensorFlow, and importing it is cheap."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up: a module may import its own layer's package and the layers before it.
LAYERS = [
    ["config", "model_config", "depth_anything_config", "batch", "safe_pickle", "crop", "depth", "pictures"],
    ["geometry"],
    ["ops"],
    ["body"],
    ["rendering"],
    ["weights"],
    ["losses", "metrics"],
    ["protocols"],
    ["models"],
    ["optim", "parallel", "logging", "mixture", "plain_arrays", "json_files"],
    ["converted"],
    ["steps", "objective"],
    ["checkpoint"],
    ["depth_network"],
    ["depth_providers"],
    ["evaluation", "evaluate", "inference", "cli"],
    ["train", "predict"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Commands that live with what they are about but use what lies above it.
COMMANDS = {"weights/convert.py"}
# Only what needs no model and no training.
DATA_MAY_IMPORT = {"config", "batch", "body", "geometry", "rendering", "safe_pickle", "mixture"}
DATA_MAY_IMPORT |= {"depth", "depth_providers", "pictures"}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    names = set()
    gc.disable()  # JAX hooks into collections, and Python 3.11's parser fails when one happens in it
    try:
        tree = ast.parse(path.read_text())
    finally:
        gc.enable()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def layer(name: str) -> str | None:
    """The part of hmr_jax that a dotted name belongs to."""
    parts = name.split(".")
    return parts[1] if parts[0] == "hmr_jax" and len(parts) > 1 and parts[1] in LEVEL else None


FILES = sorted((ROOT / "hmr_jax").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    own = path.relative_to(ROOT / "hmr_jax").parts[0].removesuffix(".py")
    level = max(LEVEL.values()) if str(path.relative_to(ROOT / "hmr_jax")) in COMMANDS else LEVEL.get(own)
    for name in imports(path):
        root = name.split(".")[0]
        assert root not in {"tensorflow", "tensorflow_datasets", "torch", "chumpy", "data_pipelines"}, name
        used = layer(name)
        if own != "__init__" and used is not None and used != own:
            assert LEVEL[used] <= level, f"{own} must not import {name}"


def test_every_module_of_the_library_has_its_layer():
    assert {p.relative_to(ROOT / "hmr_jax").parts[0].removesuffix(".py") for p in FILES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", sorted((ROOT / "data_pipelines").rglob("*.py")), ids=lambda p: p.name)
def test_data_pipelines_know_no_models(path):
    used = {layer(name) for name in imports(path)} - {None}
    assert used <= DATA_MAY_IMPORT, used - DATA_MAY_IMPORT


@pytest.mark.parametrize("module", ["hmr_jax", "hmr_jax.train", "hmr_jax.inference", "data_pipelines.synthetic.source"])
def test_importing_needs_no_tensorflow(module):
    code = f"import sys, {module}; assert not {{'tensorflow', 'tensorflow_datasets', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_file_is_long():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 320}
    assert not long
