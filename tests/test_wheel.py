"""The wheel by itself: built, installed where the checkout is out of reach, and used in one command each."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SOURCES = ("hmr_jax", "data_pipelines", "hmr_commands", "configs")
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
# Small enough to compile and run in seconds.
TINY = ["--batch-size", "4", "--eval-every", "0", "--optim.warmup-steps", "1", "--checkpoint.every", "2",
        "--cache.examples", "8"]  # fmt: skip


def run(*command: str | Path, folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", *options, folder / "source", folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def hmr(wheel, tmp_path_factory) -> Path:
    """The program, in an environment of its own that sees the packages of this one, but not what is editable there."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, folder=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, folder=home)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip())
    paths = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(paths))
    for package in ("hmr_jax", "data_pipelines", "hmr_commands"):
        path = run(python, "-c", f"import {package}; print({package}.__file__)", folder=home).strip()
        assert Path(path).is_relative_to(packages)
    return home / "bin" / "hmr"


def test_the_wheel_holds_all_that_is_needed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            assert path.relative_to(ROOT).as_posix() in names
    assets = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hmr_jax/assets").rglob("*") if path.is_file()}
    assert assets <= names
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hmr_commands/demo/page").iterdir()}
    assert page
    assert page <= names
    licenses = {Path(name).name for name in names if "/licenses/" in name}
    assert licenses == {"LICENSE", "NOTICE"}
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == set(SOURCES)


def test_an_image_is_predicted(hmr, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    run(hmr, "predict", "photo.png", "--boxes", "10,10,80,110", folder=tmp_path)
    results = tmp_path / "predictions"
    names = {f"photo{end}" for end in (".json", ".npz", ".glb", "_overlay.png")}
    assert names <= {path.name for path in results.iterdir()}
    assert len(json.loads((results / "photo.json").read_text())["people"]) == 1


def test_a_model_is_trained_and_evaluated(hmr, tmp_path):
    command = (hmr, "train", "--config", "quickstart", "--steps", "2", "--data.source", "synthetic", *TINY)
    trained = tmp_path / "runs" / "quickstart"
    assert f"Done: {trained}" in run(*command, folder=tmp_path)
    assert (trained / "checkpoints" / "2").is_dir()
    run(
        hmr, "eval", "--checkpoint", "runs/quickstart", "--data", "synthetic", "--examples", "8", "--batch-size", "4",
        folder=tmp_path,
    )  # fmt: skip
    (result,) = trained.glob("evaluation*.json")
    assert json.loads(result.read_text())["samples"] == 8
