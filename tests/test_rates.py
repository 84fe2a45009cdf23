"""What the log says of the speed, and of data that are late."""

import jax.numpy as jnp
import pytest

from hmr_jax import distributed
from hmr_jax.distributed import Progress
from hmr_jax.training import rates as module
from hmr_jax.training.rates import Rates, budget


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when a test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_only_waits_of_devices_that_have_nothing_to_do_count(clock):
    class Unfinished:
        def is_ready(self):
            return False

    rates = Rates(lambda _: None)
    for result in (None, jnp.zeros(()), Unfinished()):
        with rates.waiting_for_data(result):
            clock(1.0)
    clock(5.0)
    assert rates.of(16) == {"images_per_second": 2.0, "data_wait": 0.25}
    clock(1.0)
    assert rates.of(16) == {"images_per_second": 16.0, "data_wait": 0.0}


def test_what_the_devices_need_and_the_process_makes_is_said_once_after_compilation(clock):
    said = []
    rates = Rates(said.append)
    for count in range(4):
        with rates.waiting_for_data(None):
            clock(3.0)
        clock(1.0)
        rates.of(80)
        assert len(said) == (count > 0)
    assert said == ["data: this process needs 80 images/s and makes 20."]
    assert budget(80, 4.0, 0.0) == "data: this process needs 20 images/s and makes at least as many."


def test_the_process_whose_data_are_late_is_named_once(clock, monkeypatch):
    said = []
    waits = {0: 0.01, 1: 0.02, 2: 0.4}
    monkeypatch.setattr(distributed, "all_progress", lambda: {p: Progress(data_wait=w) for p, w in waits.items()})
    monkeypatch.setattr(distributed, "label", lambda process: f"process {process} on host node{process}")
    rates = Rates(said.append)
    for _ in range(3):
        clock(1.0)
        assert rates.of(1)["data_wait"] == 0.4
    notes = [line for line in said if line.startswith("note")]
    assert notes == ["note: process 2 on host node2 waits for data for 40% of the time, the others for at most 2%."]
