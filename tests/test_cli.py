"""Command lines and configurations answer wrong input with one clear sentence."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from hmr_jax import cli, runtime
from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.io.cache import cache_folder

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.stem)
def test_every_configuration_loads_and_survives_json(path):
    config = cli.load_config(path)
    assert from_dict(to_dict(config)) == config


EIGEN = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
OLDER = "--xla_cpu_use_fusion_emitters=false"


@pytest.mark.parametrize(
    ("version", "plugin", "chosen", "expected"),
    [
        ((0, 10, 2), "", [], [EIGEN, OLDER]),
        ((0, 10, 2), "", ["--xla_cpu_use_fusion_emitters=true"], ["--xla_cpu_use_fusion_emitters=true", EIGEN]),
        ((0, 11, 0), "", [], [EIGEN]),  # whose jaxlib ends the process at the other flag
        ((0, 10, 2), "jax_plugins", [], []),
        ((0, 10, 2), "libtpu", [], []),
    ],
)
def test_commands_choose_kernels_for_cpus_unless_told_otherwise(monkeypatch, version, plugin, chosen, expected):
    monkeypatch.setenv("XLA_FLAGS", " ".join(["--xla_dump_to=x", *chosen]))
    monkeypatch.setenv("HMR_JAX_CACHE", "")
    monkeypatch.setattr(jax, "__version_info__", version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == plugin or None)
    runtime.set_up()
    assert os.environ["XLA_FLAGS"].split() == ["--xla_dump_to=x", *expected]


@pytest.mark.parametrize("inference", [False, True])
def test_jaxlib_knows_the_chosen_flags(inference):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    code = f"from hmr_jax import runtime; runtime.choose_kernels({inference}); import jax; print(jax.devices())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr


def test_overrides_are_typed():
    config = cli.parse_config(
        ["--config", str(ROOT / "configs/quickstart.py"), "--optim.learning-rate", "3e-4", "--steps", "7"], "train.py"
    )
    assert config.optim.learning_rate == 3e-4
    assert replace(config, steps=1200, optim=cli.load_config(ROOT / "configs/quickstart.py").optim) != config


def test_the_configuration_is_named_anywhere_among_the_fields():
    first = cli.parse_config(["--config", "quickstart", "--steps", "7"], "train.py")
    for arguments in (["--steps", "7", "--config", "quickstart"], ["--config=configs/quickstart.py", "--steps=7"]):
        assert cli.parse_config(arguments, "train.py") == first


def test_configurations_come_with_the_package(monkeypatch, tmp_path):
    """A file of the working directory comes before a shipped one of that name."""
    monkeypatch.chdir(tmp_path)
    shipped = cli.load_config(ROOT / "configs" / "quickstart.py")
    for name in ("quickstart", "quickstart.py", "configs/quickstart", "configs/quickstart.py"):
        assert cli.load_config(name) == shipped
    (tmp_path / "configs").mkdir()
    own = "from hmr_jax.config import Config\n\n\ndef get_config():\n    return Config(name='own')\n"
    (tmp_path / "configs" / "quickstart.py").write_text(own)
    assert cli.load_config("configs/quickstart.py").name == "own"
    assert cli.load_config("quickstart") == shipped


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quikstart", "There is no configuration quikstart; did you mean quickstart?"),
        ("configs/hmr3.py", "There is no configuration configs/hmr3.py; did you mean configs/hmr2.py?"),
        ("elsewhere/mine.py", "There is no configuration elsewhere/mine.py; name a file, or one of d2a_hmr_paper, "),
        ("mien.py", "There is no configuration mien.py; did you mean mine.py?"),
    ],
)
def test_an_unknown_configuration_names_the_nearest(monkeypatch, tmp_path, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(FileNotFoundError) as error:
        cli.load_config(name)
    assert str(error.value).startswith(message)
    with pytest.raises(ValueError, match=r"mine\.py defines no get_config\(\)"):
        cli.load_config("mine.py")


def test_an_unknown_key_of_a_checkpoint_names_the_nearest():
    with pytest.raises(ValueError, match="Config has no field 'step'; did you mean 'steps'"):
        from_dict({"step": 3})
    with pytest.raises(ValueError, match="DecoderConfig has no field 'num_head'; did you mean 'num_heads'"):
        from_dict({"model": {"decoder": {"num_head": 3}}})


def test_every_field_is_read_somewhere():
    """A field that nothing reads is a setting without an effect."""
    import dataclasses

    sources = [p for folder in ("hmr_jax", "data_pipelines", "hmr_commands") for p in (ROOT / folder).rglob("*.py")]
    text = "\n".join(p.read_text() for p in sources if p.parent.name != "config")

    def fields(kind):
        for field in dataclasses.fields(kind):
            value = getattr(kind(), field.name)
            if dataclasses.is_dataclass(value):
                yield from fields(type(value))
            else:
                yield field.name

    losses = {"keypoints_2d", "keypoints_3d", "global_orient", "body_pose", "betas", "heatmaps", "parts", "depth"}
    unread = [name for name in fields(Config) if f".{name}" not in text and name not in losses]
    assert not unread


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py"], "error: name a configuration file first"),
        (["train.py", "--config", "configs/quikstart.py"], "did you mean configs/quickstart.py?"),
        (["train.py", "--config", "configs/quickstart.py", "--stepz", "3"], "--stepz, 3; did you mean --steps?"),
        (["eval.py", "--checkpoint", "nowhere"], "error: There is no checkpoint in"),
        (["predict.py", "nowhere.jpg"], "nowhere.jpg"),
    ],
)
def test_wrong_arguments_end_with_two_and_one_sentence(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_used_again_instead_of_new_pages():
    """XLA allocates its temporary arrays anew for each run of a program: it should not cost a page fault each time."""
    script = (
        "import resource, sys, numpy as np; from hmr_jax import runtime\n"
        "if sys.argv[1] == 'kept': runtime.keep_freed_memory()\n"
        "faults = lambda: (np.ones(2**23), resource.getrusage(resource.RUSAGE_SELF).ru_minflt)[1]\n"
        "faults(); before = faults(); print(faults() - before)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def faults(name: str) -> int:
        command = [sys.executable, "-c", script, name]
        return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

    plain, kept = faults("plain"), faults("kept")
    assert kept < 100
    assert kept < plain / 10


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("~/a", "/home/me/a"),
        ("--output=~/a", "/home/me/a"),
        ("disk:~/a", "disk:/home/me/a"),
        ("--output=flax:~/a", "flax:/home/me/a"),
        ("~", "/home/me"),
        ("a~/b", "a~/b"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
    ],
)
def test_a_home_folder_is_found_in_every_option(monkeypatch, argument, expected):
    monkeypatch.setenv("HOME", "/home/me")
    seen = []

    def main(output: str) -> None:
        seen.append(output)

    cli.parse(main, "program", [argument] if argument.startswith("--") else ["--output", argument])()
    assert seen == [expected]


@pytest.mark.parametrize("platform", ["cuda", "no_such"])
def test_a_platform_that_is_not_there_is_told_in_one_line(platform):
    code = "from hmr_jax import cli; import jax; cli.run(lambda: print(jax.devices()), 'x', [])"
    environment = os.environ | {"JAX_PLATFORMS": platform}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: JAX_PLATFORMS is {platform}, but jax finds no such device: unset it, or name cpu.\n"


NO_FOLDER = """
import numba.core.caching, sys
numba.core.caching.CacheImpl._locator_classes = []  # as in a read-only installation without a home
import numpy as np
from hmr_jax.ops.cpu import depthwise_kernels, sampling_kernels
from hmr_jax.rendering.rasterize import rasterize
import data_pipelines.random_streams, data_pipelines.loading.crops, data_pipelines.loading.pseudo_depth
import data_pipelines.synthetic.people, data_pipelines.synthetic.poses, data_pipelines.synthetic.kernels
points = np.array([[1, 1, 2], [1, 6, 2], [6, 6, 2]])
print(rasterize(points, np.array([[0, 1, 2]]), 8, 8).face_index.max())
"""


def test_where_nothing_can_be_kept_functions_are_compiled_each_time():
    done = run("-c", NO_FOLDER)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"


def test_a_cache_that_cannot_be_written_is_none(monkeypatch, tmp_path):
    def without_home(self):
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").touch()
    for name in ("", str(tmp_path / "file" / "below")):
        monkeypatch.setenv("HMR_JAX_CACHE", name)
        assert cache_folder() is None
    monkeypatch.setenv("HMR_JAX_CACHE", str(tmp_path / "new"))
    assert cache_folder() == tmp_path / "new"
    monkeypatch.delenv("HMR_JAX_CACHE")
    monkeypatch.setattr(Path, "expanduser", without_home)
    assert cache_folder() is None
