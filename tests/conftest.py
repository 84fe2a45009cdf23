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

import runpy
import sys
import tempfile
import warnings
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


ONE_PYTHON = frozenset(f"test_{name}.py" for name in (
    "animation", "bad_files", "bedlam", "benchmarks", "box_files", "build", "build_blocks", "build_depth",
    "calibration", "capture", "capture_landmarks", "demo", "demo_page", "demo_requests", "docs", "doubtful",
    "emdb", "evaluation_comparison", "evaluation_report", "exif_orientation", "fitted_records", "fuzz",
    "fuzz_bodies", "fuzz_configs", "fuzz_inputs", "fuzz_predictor", "fuzz_scores", "fuzz_weights",
    "hmr2_tars", "inspect", "keypoint_files", "labelled_bodies", "layering", "live", "mlb_pitch",
    "mpi_inf_3dhp", "npz_builders", "page", "people", "pipeline_errors", "pseudo_depth", "pseudo_labels",
    "real_capture", "rerun", "rich", "scoring_files", "three_dpw", "turntable", "unlabelled", "usd",
    "video_command", "video_files", "video_footing", "video_frames", "video_motion", "video_smoothing",
    "video_tracks", "video_world", "view", "webcam",
))  # fmt: skip
"""Files of tests that are about files, labels and pages, and not about what differs between versions of Python and jax:
like the slow ones they run under one Python in continuous integration."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest files first: one that comes last keeps one process busy while the other has nothing to do."""
    items.sort(key=lambda item: "slow" not in item.keywords and item.path.name not in LONG)
    for item in items:
        if item.path.name in ONE_PYTHON:
            item.add_marker("slow")


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


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """An exported DeforHMR with random parameters."""
    from tiny import config, random_parameters

    from hmr_jax.checkpoints import export

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    export(folder, config("unused"), random_parameters(config("unused")))
    return folder


@pytest.fixture(scope="module")
def demo_predictor(tiny_checkpoint):
    """Of the tiny checkpoint, with a detector that finds what it is told to."""
    from demo_server import tiny_predictor

    return tiny_predictor(tiny_checkpoint)


@pytest.fixture(scope="module")
def demo(demo_predictor):
    """A server of the demo page, and its detector."""
    from demo_server import running

    with running(demo_predictor) as server:
        server.detector = demo_predictor.detector
        yield server


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with two images of noise, 90x120 and 200x100 pixels."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a.jpg", (120, 90, 3)), ("b.png", (100, 200, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def whole(tiny_checkpoint, tmp_path) -> tuple:
    """Options of predict.py: each image is one person's box, the tiny checkpoint, results in `tmp_path / "out"`."""
    return "--boxes", "whole", "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out"


@pytest.fixture
def predict(monkeypatch, capsys):
    """Runs predict.py; returns its exit code, its lines on stdout, and stderr."""

    def program(*arguments):
        monkeypatch.setenv("HMR_JAX_CACHE", "")
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        code = 0
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            try:
                runpy.run_path(str(Path(__file__).parents[1] / "predict.py"), run_name="__main__")
            except SystemExit as end:
                code = end.code
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return program
