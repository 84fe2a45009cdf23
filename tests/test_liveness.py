"""Processes notice that another one is lost, and which; whoever ends in order, or with an error, says so."""

import json
import re
import socket
import threading
import time
from contextlib import closing

import pytest

from hmr_jax import distributed
from hmr_jax.distributed import connections
from hmr_jax.distributed.liveness import Progress, Watch
from hmr_jax.training.stalls import COMPUTING, DATA, SAVING, StallWatch, waited_for

HOSTS = ["node0", "node1", "node2"]


class Group:
    """Watches of three processes in one, with what they say."""

    def __init__(self, silence: float = 30.0):
        pairs = {process: socket.socketpair() for process in (1, 2)}
        self.sockets = {process: pair[1] for process, pair in pairs.items()}
        for sockets in pairs.values():
            for connection in sockets:
                connection.settimeout(1.0)
        self.said: dict[int, list[str]] = {0: [], 1: [], 2: []}
        first = {process: pair[0] for process, pair in pairs.items()}
        self.watches = [self._watch(0, first, silence)]
        self.watches += [self._watch(process, {0: self.sockets[process]}, silence) for process in (1, 2)]

    def _watch(self, process, sockets, silence):
        def end():
            for connection in sockets.values():  # as the kernel does
                connection.close()

        return Watch(process, HOSTS, sockets, silence, self.said[process].append, end)

    def start(self, *processes):
        for process in processes:
            self.watches[process].start()

    def ended(self, *processes, seconds=10.0):
        for process in processes:
            self.watches[process].join(seconds)
            assert not self.watches[process].is_alive()
        return [self.said[process] for process in processes]


def test_the_death_of_a_process_ends_the_others_with_its_name():
    group = Group()
    group.start(0, 1)
    group.sockets[2].close()
    expected = "process 2 on host node2 has died: it was killed, or crashed"
    assert group.ended(0, 1, seconds=5) == [[expected], [expected]]


def test_the_death_of_the_first_process_ends_the_others():
    group = Group()
    group.start(1, 2)
    for connection in group.watches[0]._open.values():
        connection.close()
    expected = "process 0 on host node0 has died: it was killed, or crashed"
    assert group.ended(1, 2, seconds=5) == [[expected], [expected]]


@pytest.mark.parametrize(("silent", "others"), [(2, (0, 1)), (0, (1, 2))])
def test_a_process_that_says_nothing_is_given_up(silent, others):
    group = Group(silence=1.0)
    group.start(*others)
    expected = f"process {silent} on host node{silent} has not answered for 1 s: it hangs, or the network is cut"
    assert group.ended(*others) == [[expected], [expected]]


def test_processes_that_only_wait_are_not_given_up():
    group = Group(silence=1.0)
    group.start(0, 1, 2)
    time.sleep(3)
    assert all(watch.is_alive() for watch in group.watches)
    assert group.said == {0: [], 1: [], 2: []}


def test_whoever_says_goodbye_may_end():
    group = Group()
    group.start(0, 1, 2)
    group.watches[2].leave()
    time.sleep(0.2)
    group.sockets[2].close()
    time.sleep(1.5)
    assert group.watches[0].is_alive()
    assert group.watches[1].is_alive()
    assert group.said[0] == group.said[1] == []


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_of_one_process_is_told_to_the_others(failing):
    group = Group()
    group.start(0, 1, 2)
    group.watches[failing].fail("there is no file x")
    others = [process for process in range(3) if process != failing]
    expected = f"process {failing} on host node{failing} has ended with an error (there is no file x)"
    assert group.ended(*others) == [[expected], [expected]]
    assert group.said[failing] == []


def test_the_same_error_on_all_processes_is_said_by_none_of_the_watches():
    group = Group()
    group.start(0, 1, 2)
    threads = [threading.Thread(target=watch.fail, args=["wrong"]) for watch in group.watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(4)
    assert group.said == {0: [], 1: [], 2: []}


def test_the_first_process_knows_what_all_do():
    group = Group(silence=2.0)
    group.watches[2].progress = Progress(7, DATA, time.monotonic() - 100)
    group.start(0, 1, 2)
    deadline = time.monotonic() + 10
    while (at := group.watches[0].all_progress()[2]).step != 7 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (at.step, at.doing) == (7, DATA)
    assert 99 < time.monotonic() - at.since < 105


def meet(word=None):
    """The connections that the first of two processes gets."""
    listener, entrance = connections.listen("localhost")
    made = {}
    thread = threading.Thread(target=lambda: made.update(connections.admit(listener, entrance.word, 1, 2.0)))
    thread.start()
    called = connections.dial(connections.Entrance(("localhost",), entrance.port, word or entrance.word), 1, 1.0)
    thread.join()
    return made, called


def test_processes_meet_at_the_entrance():
    made, called = meet()
    with closing(called), closing(made[1]) as first:
        called.sendall(b"x")
        assert first.recv(1) == b"x"


def test_strangers_are_turned_away():
    made, called = meet("guess")
    assert (made, called) == ({}, None)


def test_an_address_that_leads_elsewhere_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        entrance = connections.Entrance(("127.0.0.1",), elsewhere.getsockname()[1], "word")
        assert connections.dial(entrance, 1, 0.5) is None


@pytest.mark.parametrize("text", ["soon", "-1", "inf"])
def test_times_are_numbers(monkeypatch, text):
    monkeypatch.setenv("HMR_JAX_SILENCE", text)
    with pytest.raises(ValueError, match="HMR_JAX_SILENCE is a number of seconds"):
        distributed.initialize()


def test_a_pod_of_an_indexed_job_knows_its_number(monkeypatch):
    joined = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *arguments: joined.append(arguments))
    monkeypatch.setenv("HMR_JAX_COORDINATOR", "train-workers-0-0.train:1234")
    monkeypatch.setenv("HMR_JAX_PROCESSES", "4")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    distributed.initialize()
    assert joined == [("train-workers-0-0.train:1234", 4, 3)]


def test_options_come_before_the_environment(monkeypatch):
    joined = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *arguments: joined.append(arguments))
    monkeypatch.setenv("HMR_JAX_PROCESS", "1")
    distributed.initialize("host:1", 2, 0)
    assert joined == [("host:1", 2, 0)]


def stalled(monkeypatch, moments, stall="0.4", hang="0"):
    """What is said while a process does things: (step, doing, seconds)."""
    monkeypatch.setenv("HMR_JAX_STALL", stall)
    monkeypatch.setenv("HMR_JAX_HANG", hang)
    said = []
    with StallWatch(0, said.append) as stalls:
        for step, doing, seconds in moments:
            stalls.at(step, doing)
            time.sleep(seconds)
    return said


QUICK = [(step, doing, 0.01) for step in range(1, 6) for doing in (DATA, COMPUTING)]


def test_a_step_that_does_not_end_is_reported_with_what_it_waits_for(monkeypatch):
    said = stalled(monkeypatch, [*QUICK, (6, DATA, 0.9)])[0]
    assert re.match(r"note: step 6 has been going on for \d s, 0\.0\d+ s is usual: ", said)
    assert f"process 0 on host {socket.gethostname()} has been waiting for data in step 6" in said


def test_steps_of_the_usual_time_and_saves_are_not_reported(monkeypatch):
    slow = [(step, doing, 0.1) for step in range(1, 4) for doing in (DATA, COMPUTING)]
    assert stalled(monkeypatch, [*slow, (4, COMPUTING, 0.9), (4, SAVING, 1.0)]) == []


def test_a_step_that_hangs_ends_the_run(monkeypatch):
    ended = []
    monkeypatch.setattr(distributed, "give_up", ended.append)
    stalled(monkeypatch, [*QUICK, (6, COMPUTING, 1.2)], stall="0", hang="0.5")
    assert re.match("step 6 has not ended for [1-9] s: process 0 on host", ended[0])


def test_the_process_that_is_behind_is_named():
    progress = {0: Progress(8, COMPUTING, 5.0), 1: Progress(7, DATA, 2.0), 2: Progress(8, DATA, 1.0)}
    host = socket.gethostname()
    assert waited_for(progress, 10.0) == f"process 1 on host {host} has been waiting for data in step 7 for 8 s"
    everybody = {0: Progress(8, COMPUTING, 5.0), 1: Progress(8, COMPUTING, 2.0)}
    assert waited_for(everybody, 10.0) == "all 2 processes are computing"


def test_messages_are_json_lines():
    """What a process of another version of this program would have to understand."""
    one, other = socket.socketpair()
    watch = Watch(1, HOSTS, {0: one}, 30.0, print, print)
    watch.leave()
    assert json.loads(other.recv(1000)) == {"kind": "left"}
