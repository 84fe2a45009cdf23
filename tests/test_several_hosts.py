"""What befalls a run of several hosts, one row of the table in docs/howto/resume.md after the other.

Processes on this computer stand for hosts (hosts.py). Of each row: how the processes end, what they say, and that the
same command goes on.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from hosts import Cable, Hosts, rows, train_together

from hmr_jax import checkpoints
from hmr_jax.checkpoints import runs
from hmr_jax.distributed import LOST

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SOON = {"HMR_JAX_SILENCE": "3"}


def parameters(run: Path, step: int):
    return checkpoints.load_for_inference(run / "checkpoints" / str(step))[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two hosts that nothing befell."""
    folder = tmp_path_factory.mktemp("whole")
    results = train_together(folder, 2)
    assert [status for status, *_ in results] == [0, 0], results
    return folder / "tiny"


def goes_on(folder: Path, whole: Path, count: int = 2) -> None:
    """The same command takes the run to its end, bit for bit as if nothing had happened, or on other hosts nearly."""
    results = train_together(folder, count)
    assert [status for status, *_ in results] == [0] * count, results
    pair = parameters(folder / "tiny", 12), parameters(whole, 12)
    if count == 2:
        jax.tree.map(np.testing.assert_array_equal, *pair)
    else:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), *pair)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_host_is_killed(tmp_path, whole, victim):
    with Hosts(2, [tmp_path], {"pause": 0.1}) as hosts:
        hosts.wait_for_step(7)
        killed = time.monotonic()
        hosts.processes[victim].kill()
        results = hosts.results()
        seconds = time.monotonic() - killed
    status, _, error = results[1 - victim]
    assert (status, results[victim][0]) == (LOST, -signal.SIGKILL)
    assert f"error: process {victim} on host" in error
    assert "has died: it was killed, or crashed; the run cannot go on." in error
    assert f"Checkpoints in {tmp_path / 'tiny'} up to step 4 are complete; the same command resumes from there" in error
    assert seconds < 20  # 0.4 s on a machine that does nothing else
    goes_on(tmp_path, whole, count=2 - victim)


def test_a_host_hangs_or_is_cut_off(tmp_path):
    with Hosts(2, [tmp_path], {"pause": 0.1}, SOON) as hosts:
        hosts.wait_for_step(6)
        hosts.processes[1].send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        output, error = hosts.processes[0].communicate(timeout=60)
        assert hosts.processes[0].returncode == LOST, output
        assert time.monotonic() - stopped < 20
        assert "process 1 on host" in error
        assert "has not answered for 3 s: it hangs, or the network is cut; the run cannot go on." in error
        hosts.processes[1].send_signal(signal.SIGCONT)
        output, error = hosts.processes[1].communicate(timeout=60)
        assert hosts.processes[1].returncode != 0


def test_the_network_between_two_hosts_is_cut(tmp_path, whole):
    cable = Cable()
    with Hosts(2, [tmp_path], {"pause": 0.5, "cable": cable.port}, SOON) as hosts:
        hosts.wait_for_step(6)
        cable.cut()
        began = time.monotonic()
        results = hosts.results()
    assert time.monotonic() - began < 20
    assert [status for status, *_ in results] == [LOST, LOST], results
    for own, (_, _, error) in enumerate(results):
        assert f"process {1 - own} on host" in error
        assert "has not answered for 3 s: it hangs, or the network is cut; the run cannot go on." in error
    goes_on(tmp_path, whole)


def test_a_host_is_killed_while_a_checkpoint_is_saved(tmp_path, whole):
    with Hosts(2, [tmp_path], {"pause": 0.02}) as hosts:
        hosts.wait_for_step(6)
        hosts.wait_until(lambda: list((tmp_path / "tiny" / "checkpoints").glob("8*tmp*")))
        hosts.processes[1].kill()
        results = hosts.results()
    assert results[0][0] == LOST, results
    assert runs.last_step(tmp_path / "tiny") in (4, 8)  # the other host may have completed it
    goes_on(tmp_path, whole)


def test_a_signal_comes_to_one_of_four_hosts(tmp_path):
    with Hosts(4, [tmp_path], {"pause": 0.1, "steps": 10_000, "every": 10_000}) as hosts:
        hosts.wait_for_step(4)
        hosts.processes[2].send_signal(signal.SIGTERM)
        sent = time.monotonic()
        results = hosts.results()
    assert time.monotonic() - sent < 30
    assert [status for status, *_ in results] == [0] * 4, results
    (step,) = runs.steps(tmp_path / "tiny")
    assert f"Stopped at step {step:,} of 10,000" in results[0][1]


def test_a_signal_comes_to_all_hosts(tmp_path):
    with Hosts(2, [tmp_path], {"pause": 0.1, "steps": 10_000, "every": 10_000}) as hosts:
        hosts.wait_for_step(3)
        for process in hosts.processes:
            process.send_signal(signal.SIGTERM)
        results = hosts.results()
    assert [status for status, *_ in results] == [0, 0], results
    (step,) = runs.steps(tmp_path / "tiny")
    assert f"Stopped at step {step:,} of 10,000" in results[0][1]


def test_the_disk_of_a_host_is_full(tmp_path, whole):
    results = train_together(tmp_path, 2, fault="full", on=0)
    assert [status for status, *_ in results] == [2, LOST], results
    assert "error: Training stopped: " in results[0][2]
    assert "up to step 4 are complete; the same command resumes from there." in results[0][2]
    assert "process 0 on host" in results[1][2]
    assert "has ended with an error (Training stopped: " in results[1][2]
    goes_on(tmp_path, whole)


def test_the_folder_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    results = train_together(tmp_path, 2, fault="read-only")
    tmp_path.chmod(0o700)
    assert [status for status, *_ in results] == [2, 2], results
    assert all(f"error: [Errno 13] Permission denied: '{tmp_path / 'tiny'}'" in error for *_, error in results), results


def test_the_newest_checkpoint_is_damaged(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "tiny")
    file = max((tmp_path / "tiny/checkpoints/12/train").rglob("*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-100])
    results = train_together(tmp_path, 2)
    assert [status for status, *_ in results] == [0, 0], results
    assert "The checkpoint of step 12" in results[0][1]
    assert "start at step 8" in results[0][1]
    pair = parameters(tmp_path / "tiny", 12), parameters(whole, 12)
    jax.tree.map(np.testing.assert_array_equal, *pair)


def test_a_label_of_a_host_is_not_finite(tmp_path):
    results = train_together(tmp_path, 2, fault="nan")
    assert [status for status, *_ in results] == [2, 2], results
    assert all("error: Step 6 is not finite" in error for *_, error in results), results
    assert runs.steps(tmp_path / "tiny") == [4]


def test_the_input_of_a_host_stalls(tmp_path):
    with Hosts(2, [tmp_path], {"fault": "stall"}, {"HMR_JAX_STALL": "2", "HMR_JAX_HANG": "8", **SOON}) as hosts:
        results = hosts.results()
    assert [status for status, *_ in results] == [LOST, LOST], results
    assert "note: step 6 has been going on for" in results[0][1]
    assert "process 1 on host" in results[0][1]
    assert "has been waiting for data in step 6 for" in results[0][1]
    assert all("error: step 6 has not ended for" in error for *_, error in results), results


def test_the_log_names_the_host_whose_data_are_late(tmp_path):
    with Hosts(2, [tmp_path], {"fault": "late"}, SOON) as hosts:
        results = hosts.results()
    assert [status for status, *_ in results] == [0, 0], results
    assert "note: process 1 on host" in results[0][1]
    assert " waits for data for " in results[0][1]
    assert max(row["train/data_wait"] for row in rows(tmp_path / "tiny")) > 0.5


def test_an_error_of_a_host_ends_all(tmp_path):
    results = train_together(tmp_path, 2, fault="error")
    assert [status for status, *_ in results] == [LOST, 2], results
    assert "error: record 7 of people.array_record is truncated." in results[1][2]
    assert "process 1 on host" in results[0][2]
    assert "has ended with an error (record 7 of people.array_record is truncated.)" in results[0][2]


def test_hosts_without_a_common_folder_are_told_at_the_start(tmp_path):
    with Hosts(2, [tmp_path / "a", tmp_path / "b"]) as hosts:
        results = hosts.results()
    assert [status for status, *_ in results] == [2, 2], results
    assert all("is not the same folder on all hosts" in error for *_, error in results), results


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """The losses of 20 steps by the number of processes."""
    losses = {}
    for count in (1, 2, 4):
        folder = tmp_path_factory.mktemp(f"processes{count}")
        results = train_together(folder, count, steps=20, every=20, devices=4 // count)
        assert [status for status, *_ in results] == [0] * count, results
        losses[count] = np.array([row["train/loss"] for row in rows(folder / "tiny")])
    return losses


def test_the_global_batches_do_not_depend_on_the_number_of_processes():
    """Their checksums, as they are on the devices; each process makes its share of them."""
    sums = {}
    for count in (1, 2, 4):
        command = [
            sys.executable,
            "-m",
            "hmr_jax.distributed.launch_local",
            f"--processes={count}",
            f"--devices={4 // count}",
        ]
        done = subprocess.run(
            [*command, "--", "tests/global_batches.py"], cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = [line.split() for line in done.stdout.splitlines() if " batch " in line]
        sums[count] = {host: [row[-1] for row in said if row[0] == f"[{host}]"] for host in range(count)}
        assert {len(own) for own in sums[count].values()} == {3}
    expected = sums[1][0]
    assert len(set(expected)) == 3
    assert all(own == expected for of in sums.values() for own in of.values())


@pytest.mark.parametrize("count", [2, 4])
def test_losses_do_not_depend_on_the_number_of_processes(twenty, count):
    assert len(twenty[1]) == 20
    np.testing.assert_allclose(twenty[count], twenty[1], rtol=1e-5)
