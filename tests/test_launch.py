"""Files and programs that start a run on several hosts: SLURM, TPU pods, Kubernetes, and this computer."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hmr_commands import program
from hmr_jax import distributed
from hmr_jax.config import Config
from hmr_jax.distributed.launch_local import launch

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"


def joined(monkeypatch, **variables) -> list:
    """With what `jax.distributed.initialize` is called in an environment."""
    calls = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *values, **named: calls.append((values, named)))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.initialize()
    return calls


def test_srun_with_one_process_per_node_takes_all_gpus(monkeypatch):
    nodes = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2"}
    assert joined(monkeypatch, **nodes, SLURM_GPUS_ON_NODE="8") == [((), {"local_device_ids": list(range(8))})]


@pytest.mark.parametrize("nodes", ["2", ""])
def test_srun_with_one_process_per_gpu_leaves_the_choice_to_jax(monkeypatch, nodes):
    tasks = {"SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_NUM_NODES": nodes}
    assert joined(monkeypatch, **tasks, SLURM_GPUS_ON_NODE="8") == [((), {})]


def environment(script: str, tmp_path: Path, status: int = 0) -> dict[str, str]:
    """An environment in which the programs of a cluster write down how they are called."""
    for name in ("srun", "scontrol", "gcloud", "sleep"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        answer = "echo ACTIVE" if name == "gcloud" else f"exit {status if name == 'srun' else 0}"
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n{answer}\n')
        path.chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    return os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "REPOSITORY": "R"}


def call(script: str, tmp_path: Path, *arguments: str, status: int = 0) -> tuple[int, list[str]]:
    """The exit status of a script of launch/, and the programs that it called."""
    made = environment(script, tmp_path, status)
    done = subprocess.run(["bash", LAUNCH / script, *arguments], env=made, cwd=tmp_path, capture_output=True, text=True)
    calls = tmp_path / "calls"
    return done.returncode, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(("status", "again"), [(0, False), (75, True), (76, True), (137, True), (2, False)])
def test_slurm_starts_a_run_again_that_resumes(tmp_path, status, again):
    code, calls = call("slurm.sh", tmp_path, "--config", "configs/quickstart.py", status=status)
    assert code == status
    assert calls[0] == "srun --kill-on-bad-exit=0 python train.py --config configs/quickstart.py"
    assert calls[1:] == ["scontrol requeue 7"] * again


def test_a_tpu_pod_is_asked_for_and_trains_on_all_hosts(tmp_path):
    code, calls = call("tpu_pod.sh", tmp_path, "train", "--config", "configs/quickstart.py", "--name", "a b")
    assert code == 0
    assert calls[0].startswith("gcloud compute tpus tpu-vm ssh hmr --zone=us-east5-b --worker=all --command=cd hmr && ")
    assert r".venv/bin/python train.py --config configs/quickstart.py --name a\ b " in calls[0]


@pytest.mark.parametrize(("statuses", "starts"), [("0", 1), ("76 75 0", 3), ("2", 1)])
def test_the_loop_on_a_tpu_host_starts_a_run_again_that_resumes(tmp_path, statuses, starts):
    _, calls = call("tpu_pod.sh", tmp_path, "train", "--config", "x")
    command = calls[0].partition("--command=")[2].replace(".venv/bin/python", "./python")
    host = tmp_path / "hmr"
    host.mkdir()
    (host / "statuses").write_text(statuses)
    (host / "python").write_text(
        'echo x >> starts\nread -r first rest < statuses\necho "$rest" > statuses\nexit "$first"\n'
    )
    (host / "python").chmod(0o755)
    (host / "python").write_text("#!/bin/bash\n" + (host / "python").read_text())
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, timeout=60)
    assert done.returncode == int(statuses.split()[-1])
    assert (host / "starts").read_text().count("x") == starts


def test_the_jobset_names_the_processes_to_each_other(monkeypatch):
    yaml = pytest.importorskip("yaml")
    (jobset,) = yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = jobset["spec"]
    (workers,) = spec["replicatedJobs"]
    assert spec["coordinator"] == {"replicatedJob": workers["name"], "jobIndex": 0, "podIndex": 0}
    job = workers["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {item["name"]: item for item in container["env"]}
    annotation = variables["COORDINATOR"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert annotation == "metadata.annotations['jobset.sigs.k8s.io/coordinator']"
    assert job["parallelism"] == job["completions"] == int(variables["HMR_JAX_PROCESSES"]["value"])
    address = variables["HMR_JAX_COORDINATOR"]["value"].replace("$(COORDINATOR)", "hmr-workers-0-0.hmr")
    pod = {"HMR_JAX_COORDINATOR": address, "HMR_JAX_PROCESSES": "2", "JOB_COMPLETION_INDEX": "1"}
    assert joined(monkeypatch, **pod) == [(("hmr-workers-0-0.hmr:8476", 2, 1), {})]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1, 2]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    call = program.parse(["train", *container["args"]])
    assert call.keywords["config"].output == "/shared/runs"


def test_commands_in_the_headers_are_ones_that_train_takes():
    for path in LAUNCH.iterdir():
        header = re.sub(r"\\\n# +", "", path.read_text())
        for line in re.findall(r"^#   (?:sbatch|launch).*? (--config \S*py.*)$", header, re.MULTILINE):
            assert isinstance(program.parse(["train", *shlex.split(line)]).keywords["config"], Config)


def test_scripts_are_free_of_errors():
    for path in LAUNCH.glob("*.sh"):
        subprocess.run(["bash", "-n", path], check=True)
        assert os.access(path, os.X_OK)


SAYS = """
import os, sys
print("process", *(os.environ[name] for name in ("HMR_JAX_PROCESS", "HMR_JAX_PROCESSES", "JAX_NUM_CPU_DEVICES")))
sys.exit(int(os.environ["HMR_JAX_PROCESS"]) * 3)
"""


def test_local_processes_are_told_their_numbers_and_their_output_is_marked(tmp_path, capfd):
    (tmp_path / "says.py").write_text(SAYS)
    assert launch([str(tmp_path / "says.py")], 2, 4) == 3
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] process 0 2 4", "[1] process 1 2 4"]


def test_a_process_that_a_signal_kills_counts_as_failed(tmp_path):
    (tmp_path / "dies.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert launch([str(tmp_path / "dies.py")], 1, 1) == 137


def test_the_launcher_wants_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "hmr_jax.distributed.launch_local", "--processes", "2"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "name a command behind two hyphens" in done.stderr
