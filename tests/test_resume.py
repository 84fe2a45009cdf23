"""A run's folder is never claimed by a start that failed, never mixed up, and survives damage, moves and signals."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from hmr_commands import train as command
from hmr_jax import checkpoints, cli, distributed
from hmr_jax.checkpoints import runs
from hmr_jax.config import CheckpointConfig, DataConfig, MeshConfig, OptimConfig
from hmr_jax.evaluation.loop import on_devices
from hmr_jax.evaluation.scores import make_score_step
from hmr_jax.io.json_files import read_json
from hmr_jax.io.orbax_arrays import read_item
from hmr_jax.training import loop
from hmr_jax.training.loop import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RANDOM = OptimConfig(learning_rate=1e-3, warmup_steps=2, random_frozen=True)
FROZEN = replace(RANDOM, random_frozen=False)


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory):
    """Runs of 2 and of 4 steps."""
    folder = tmp_path_factory.mktemp("finished")
    return {steps: train(tiny.config(folder / str(steps), steps=steps), tiny.source()) for steps in (2, 4)}


@pytest.fixture
def finished(finished_runs, tmp_path):
    """A copy in the test's folder of a run of so many steps."""

    def copy(steps: int, folder: Path = tmp_path) -> Path:
        return Path(shutil.copytree(finished_runs[steps], folder / "tiny"))

    return copy


def saved(run: Path) -> list[int]:
    return runs.steps(run)


def flip_a_byte(folder: Path) -> Path:
    """Changes one byte in the middle of the largest file."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)
    return path


def test_a_start_that_fails_leaves_the_name_free(tmp_path):
    with pytest.raises(ValueError, match="data ended"):
        train(tiny.config(tmp_path, seed=1), tiny.source(end=1))
    run = train(tiny.config(tmp_path, steps=2), tiny.source())
    assert read_json(run / "config.json")["seed"] == 0


def test_the_message_names_the_fields_with_both_values(tmp_path, finished):
    finished(2)
    changed = tiny.config(tmp_path, steps=2, optim=replace(RANDOM, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"other values of optim\.learning_rate \(0\.001 there, 0\.5 now\)"):
        train(changed, tiny.source())


def test_a_renamed_and_moved_run_goes_on(tmp_path, finished):
    (tmp_path / "b").mkdir()
    finished(2).rename(tmp_path / "b" / "other")
    moved = train(tiny.config(tmp_path / "b", name="other", steps=4), tiny.source())
    assert saved(moved) == [2, 4]


def test_fewer_steps_than_done_are_refused(tmp_path, finished):
    finished(4)
    with pytest.raises(ValueError, match="has done 4 steps already"):
        train(tiny.config(tmp_path, steps=3), tiny.source())


def test_more_steps_are_written_down_and_the_new_schedule_is_announced(tmp_path, capsys, finished):
    finished(4)
    run = train(tiny.config(tmp_path, steps=6), tiny.source())
    assert "steps is 6 now and was 4" in capsys.readouterr().out
    assert read_json(run / "config.json")["steps"] == 6


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path, capsys, damage, finished, finished_runs):
    run = finished(4)
    if damage == "flipped":
        flip_a_byte(run / "checkpoints" / "4" / "train")
    else:
        for path in (run / "checkpoints" / "4" / "params").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    train(tiny.config(tmp_path, steps=6), tiny.source())
    said = capsys.readouterr().out
    assert "checkpoint of step 4" in said
    assert "start at step 2" in said
    assert (run / "damaged" / "4").is_dir()
    assert saved(run) == [4, 6]
    # The rate of the first two steps followed another schedule, so only the state's completeness is compared.
    shapes = [jax.tree.map(np.shape, checkpoints.load_for_inference(path)[1]) for path in (run, finished_runs[4])]
    assert shapes[0] == shapes[1]


def test_a_damaged_checkpoint_is_named_for_inference_with_the_whole_ones(finished):
    run = finished(4)
    path = flip_a_byte(run / "checkpoints" / "4" / "params")
    with pytest.raises(ValueError, match=f"{path}.*also holds the steps 2"):
        checkpoints.load_for_inference(run)


def test_a_flipped_byte_in_frozen_parameters_is_named(tmp_path, finished):
    run = finished(2)
    path = flip_a_byte(run / "frozen")
    with pytest.raises(ValueError, match=path.name):
        checkpoints.load_for_inference(run)
    with pytest.raises(ValueError, match=path.name):
        train(tiny.config(tmp_path, steps=4), tiny.source())


def test_saving_and_loading_warn_of_nothing(tmp_path, caplog):
    checkpoints.load_for_inference(train(tiny.config(tmp_path, steps=2), tiny.source()))
    train(tiny.config(tmp_path, steps=4), tiny.source())
    assert not [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_leftovers_of_an_interrupted_save_are_removed(tmp_path, finished):
    run = finished(2)
    leftover = run / "checkpoints" / "4.orbax-checkpoint-tmp"
    leftover.mkdir()
    (leftover / "_CHECKPOINT_METADATA").write_text("{}")
    train(tiny.config(tmp_path, steps=6), tiny.source())
    assert not leftover.exists()


@pytest.fixture(scope="module")
def source_run(tmp_path_factory):
    return train(tiny.config(tmp_path_factory.mktemp("source"), name="source", steps=1), tiny.source())


@pytest.mark.parametrize("change", ["same", "changed", "gone"])
def test_a_resumed_run_keeps_the_frozen_parameters_that_it_was_started_with(tmp_path, capsys, source_run, change):
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", source_run, source], check=True)
    settings = {"optim": FROZEN, "init_from": str(source), "seed": 3}
    run = train(tiny.config(tmp_path, steps=2, **settings), tiny.source())
    before = checkpoints.load_for_inference(run)[1]["encoder"]
    if change == "gone":
        source.rename(tmp_path / "elsewhere")
    if change == "changed":
        other = train(tiny.config(tmp_path, name="other", steps=1, seed=9), tiny.source())
        subprocess.run(["rm", "-r", source], check=True)
        other.rename(source)
    capsys.readouterr()
    train(tiny.config(tmp_path, steps=4, **settings), tiny.source())
    jax.tree.map(np.testing.assert_array_equal, before, checkpoints.load_for_inference(run)[1]["encoder"])
    said = capsys.readouterr().out
    assert ("encoder in" in said and "changed since" in said) == (change == "changed")
    assert ("cannot be read any more" in said) == (change == "gone")


@pytest.mark.parametrize("name", ["deforhmr_paper", "d2a_hmr_vit"])
def test_a_frozen_encoder_without_weights_is_refused(tmp_path, name):
    paper = cli.load_config(name)
    config = tiny.config(tmp_path, optim=replace(FROZEN, frozen=paper.optim.frozen), init_from=paper.init_from)
    if paper.model.name == "d2a_hmr":
        config = replace(config, model=tiny.D2A, loss=tiny.D2A_LOSS)
    with pytest.raises(ValueError, match=r"encoder would stay random.*--init-from"):
        train(config, tiny.source())


def test_init_groups_without_the_frozen_group_are_refused(tmp_path, source_run):
    config = tiny.config(tmp_path, optim=FROZEN, init_from=str(source_run), init_groups=("head",))
    with pytest.raises(ValueError, match="encoder would stay random"):
        train(config, tiny.source())


def test_the_best_checkpoint_is_a_state_that_was_measured(tmp_path, monkeypatch):
    measured = []

    def evaluate(model, params, *_, **__):
        measured.append(np.asarray(params["head"]["pose"]["kernel"]) if "pose" in params["head"] else None)
        return type("Result", (), {"metrics": {"mpjpe": float(len(measured) != 1)}})

    monkeypatch.setattr(loop, "evaluate", evaluate)
    config = tiny.config(tmp_path, steps=6, eval_every=2, checkpoint=CheckpointConfig(every=3, keep=1))
    run = train(config, tiny.source(), tiny.source(end=1))
    assert saved(run) == [2, 6]
    assert checkpoints.describe(run)["step"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": CheckpointConfig(metric="mpjep")}, "'mpjep', but the validation measures mpjpe"),
        ({"eval_protocol": "3dwp"}, "3dwp"),
        ({"eval_protocol": "3dpw-j19"}, "SMPL_MALE"),
        ({"log_every": 0}, "log_every is 0"),
        ({"checkpoint": CheckpointConfig(every=0)}, r"checkpoint\.every is 0"),
        ({"profile": (10,)}, "first and the last step"),
        ({"profile": (3, 2)}, "first and the last step"),
        ({"steps": -1}, "steps is -1"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_step(tmp_path, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(tiny.config(tmp_path, eval_every=2, **changes), tiny.source(), tiny.source(end=1))
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("inside", ["checkpoints", "checkpoints/2/params"])
def test_a_part_of_a_run_is_answered_with_what_to_name(finished, inside):
    run = finished(2)
    with pytest.raises(FileNotFoundError, match=f"name the run's folder {run}"):
        checkpoints.load_for_inference(run / inside)


def test_the_moving_average_is_read_without_the_optimisers_state(tmp_path, monkeypatch):
    run = train(tiny.config(tmp_path, steps=2, optim=replace(RANDOM, ema=0.9)), tiny.source())
    everything = read_item(run / "checkpoints" / "2" / "train")
    assert {"ema", "opt_state"} <= set(everything)

    def read(path):
        assert path.name != "train"
        return read_item(path)

    monkeypatch.setattr("hmr_jax.checkpoints.loading.read_item", read)
    params = checkpoints.load_for_inference(run)[1]
    jax.tree.map(np.testing.assert_array_equal, params["decoder"], everything["ema"]["decoder"])


@pytest.mark.parametrize(("done", "status"), [(4, 0), (2, command.STOPPED)])
def test_a_stopped_run_ends_with_another_status_and_without_done(tmp_path, monkeypatch, capsys, done, status):
    run = tmp_path / "run"
    (run / "checkpoints" / str(done)).mkdir(parents=True)
    monkeypatch.setattr("hmr_jax.training.loop.train", lambda *_: run)
    config = tiny.config(tmp_path, steps=4, eval_every=0, data=DataConfig(source="synthetic", crop_size=32))
    try:
        command.main(config)
        code = 0
    except SystemExit as end:
        code = end.code
    assert code == status
    assert ("Done" in capsys.readouterr().out) == (status == 0)


@pytest.mark.parametrize(
    "named", [("host:1", "", ""), ("host", "2", "0"), ("host:1", "2", "2"), ("", "2", "0"), ("host:1", "two", "0")]
)
def test_variables_that_do_not_name_a_process_are_one_sentence(monkeypatch, named):
    for name, value in zip(("HMR_JAX_COORDINATOR", "HMR_JAX_PROCESSES", "HMR_JAX_PROCESS"), named, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="HMR_JAX_COORDINATOR=host:port"):
        distributed.initialize()


def test_a_slurm_job_without_srun_is_one_process(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_: pytest.fail("joined other processes"))
    distributed.initialize()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    distributed.initialize()


def test_validations_share_one_compiled_program(tmp_path, monkeypatch):
    made = []

    def make(*arguments, **options):
        made.append(1)
        return make_score_step(*arguments, **options)

    monkeypatch.setattr("hmr_jax.evaluation.loop.make_score_step", make)
    run = train(tiny.config(tmp_path, steps=3, eval_every=1), tiny.source(), tiny.source(end=1))
    rows = (run / "metrics.jsonl").read_text()
    assert rows.count('"validation/mpjpe":') == 3
    assert len(made) == 1


def test_split_parameters_are_evaluated_as_they_are(every_device):
    mesh = distributed.make_mesh(MeshConfig(fsdp=8))
    arrays = {"a": np.ones((16, 16), np.float32), "b": np.ones(3, np.float32)}
    split = jax.device_put(arrays, distributed.parameter_sharding(mesh, arrays, 64))
    assert on_devices(mesh, split) == split
    assert on_devices(mesh, arrays)["a"].sharding.is_fully_replicated
