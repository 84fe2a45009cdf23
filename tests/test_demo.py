"""The demo's server: results, one computation after the other, and that it keeps nothing."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from demo_server import BINARY, DRAWN, FOUND, encoded, running
from PIL import Image

from hmr_commands import program
from hmr_commands.demo.limits import Limits
from hmr_commands.demo.server import bind
from hmr_commands.demo.storage import Storage
from hmr_commands.demo.worker import DELETED, FAILED, QueueFull, Worker

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def image(demo) -> str:
    return demo.image(encoded())


@pytest.fixture(scope="module")
def said(demo, image):
    """The result of a found box and one drawn by hand."""
    return demo.result(demo.predict(image, [FOUND, DRAWN], focal_length=150))["result"]


def test_the_page_and_all_that_it_names_are_there(demo):
    page = demo.get("/")
    assert page.status == 200
    names = set(re.findall(r'(?:src|href)="(/[^"]+)"', page.data.decode()))
    assert len(names) >= 3
    for name in names:
        answer = demo.get(name)
        assert answer.status == 200
        names_inside = re.findall(r'from "\./(\w+\.js)"', answer.data.decode())
        assert all(demo.get(f"/static/{inside}").headers["content-type"] == "text/javascript; charset=utf-8"
                   for inside in names_inside)  # fmt: skip
        assert not re.search(rb"https?://(?!www\.w3\.org)", answer.data), "nothing is loaded from elsewhere"


def test_people_are_found_in_an_image_of_any_name_and_kind(demo):
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        said = demo.result(demo.upload(encoded(kind), **{"Content-Type": "image/x-unknown"}))["result"]
        assert (said["width"], said["height"]) == (90, 120)
        assert said["people"] == [{"box": list(FOUND), "score": 0.875}]
        assert said["focal_length_source"] == "default"
        shown = Image.open(io.BytesIO(demo.get(f"/api/images/{said['image']}/shown.jpg").data))
        assert shown.size == (90, 120)


def test_results_have_a_row_for_each_box_and_files_to_download(demo, said):
    assert [one["score"] for one in said["people"]] == [0.875, None]
    assert [one["box"] for one in said["people"]] == [list(FOUND), DRAWN]
    assert all(one["distance"] > 0 and one["distance_error"] == 0 for one in said["people"])
    assert (said["focal_length"], said["focal_length_source"]) == (150, "given")
    base = f"/api/results/{said['result']}"
    files = {one["name"]: demo.get(f"{base}/{one['name']}") for one in said["files"]}
    assert {name: len(answer.data) for name, answer in files.items()} == {
        one["name"]: one["bytes"] for one in said["files"]
    }
    assert all(answer.headers["content-disposition"].startswith("attachment") for answer in files.values())
    assert len(files["people.json"].json["people"]) == 2
    with np.load(io.BytesIO(files["people.npz"].data)) as arrays:
        assert arrays["vertices"].shape[0] == 2
    assert files["people.glb"].data[:4] == b"glTF"
    overlay = Image.open(io.BytesIO(demo.get(f"{base}/overlay.jpg").data))
    assert overlay.size == (90, 120)


def test_bodies_are_shown_by_a_document_that_reaches_nothing(demo, said):
    for which in ("0", "1", "all"):
        answer = demo.get(f"/api/results/{said['result']}/bodies/{which}")
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-scripts" in policy
        assert b"THREE" in answer.data
    for which in ("2", "-1", "x"):
        assert demo.get(f"/api/results/{said['result']}/bodies/{which}").status == 404


def test_files_are_deleted_when_they_are_no_longer_used(demo_predictor):
    with running(demo_predictor, Limits(keep_seconds=0.5)) as demo:
        image = demo.image(encoded())
        result = demo.result(demo.predict(image, [DRAWN]))["result"]["result"]
        assert len(list(demo.storage.folder.iterdir())) == 2
        end = time.monotonic() + 20
        while list(demo.storage.folder.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.05)
        for path in (f"images/{image}/shown.jpg", f"results/{result}/people.json", f"results/{result}/bodies/0"):
            assert demo.get(f"/api/{path}").error == "This is not here, or no longer: choose the image again."


def test_files_are_deleted_when_the_user_says_so(demo):
    image = demo.image(encoded())
    earlier, result = (demo.result(demo.predict(image, [DRAWN]))["result"]["result"] for _ in range(2))
    assert (demo.storage.folder / result).exists()
    assert not (demo.storage.folder / earlier).exists()
    assert demo.get(f"/api/images/{image}").status == 200
    assert demo.ask("DELETE", f"/api/images/{image}", headers={"Origin": "http://evil.example"}).status == 403
    assert (demo.storage.folder / image).exists()
    assert demo.ask("DELETE", f"/api/images/{image}").status == 204
    assert not (demo.storage.folder / image).exists()
    assert not (demo.storage.folder / result).exists()
    assert demo.predict(image, [DRAWN]).status == 404
    assert demo.get(f"/api/images/{image}").status == 404


def test_an_image_that_is_deleted_before_its_turn_is_no_failure(demo):
    go = threading.Event()
    demo.worker.submit(lambda progress: (go.wait(30), {})[-1])
    started = demo.upload(encoded())
    demo.storage.remove(started.json["image"])
    go.set()
    assert demo.result(started)["error"] == DELETED


def test_the_oldest_upload_makes_room():
    storage = Storage(images=2, keep_seconds=100)
    first, second = storage.new(), storage.new()
    results = storage.new(first)
    storage.get(results.id)  # a use of the first
    storage.new()
    assert first.folder.exists()
    assert results.folder.exists()
    assert not second.folder.exists()
    with pytest.raises(KeyError):
        storage.new(second)
    storage.close()
    assert not storage.folder.exists()


def test_a_failure_of_the_program_is_no_news_for_the_client(demo, image, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("hmr_commands.demo.predicting.predict", broken)
    said = demo.result(demo.predict(image, [DRAWN]))
    assert said["error"] == FAILED
    assert "secret" not in json.dumps(said)
    assert "RuntimeError: secret detail" in capsys.readouterr().err
    monkeypatch.setattr(demo.storage, "get", broken)
    answer = demo.get(f"/api/images/{image}")
    assert (answer.status, answer.error) == (500, FAILED)


def test_a_worker_does_one_thing_after_the_other_and_stops():
    worker = Worker(waiting=2)
    go, order = threading.Event(), []

    def work(number, progress):
        go.wait(30)
        progress(f"number {number}")
        order.append(number)
        return {}

    jobs = [worker.submit(lambda progress, number=number: work(number, progress)) for number in range(1)]
    while jobs[0].state == "waiting":
        time.sleep(0.001)
    jobs += [worker.submit(lambda progress, number=number: work(number, progress)) for number in (1, 2)]
    assert [worker.ahead(job) for job in jobs] == [0, 1, 2]
    with pytest.raises(QueueFull):
        worker.submit(lambda _: {})
    go.set()
    end = time.monotonic() + 30
    while jobs[-1].state != "done":
        assert time.monotonic() < end
        time.sleep(0.001)
    assert order == [0, 1, 2]
    worker.forget(0)
    with pytest.raises(KeyError):
        worker.get(jobs[0].id)
    assert worker.stop(10)


def test_a_port_that_cannot_be_had_is_told():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^Port {port} is in use: .* choose another with --port\.$"):
            bind("127.0.0.1", port)
    with pytest.raises(OSError, match="knows no such host"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(OSError, match="no address of this computer"):
        bind("192.0.2.1", 0)
    with pytest.raises(ValueError, match="0 to 65535"):
        bind("127.0.0.1", 70_000)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_missing_packages_are_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"^The demo needs FastAPI and uvicorn: pip install 'hmr_jax\[demo\]'\.$"):
        program.parse(["demo"])()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_deletes_all_files(tiny_checkpoint, tmp_path):
    command = [sys.executable, "-m", "hmr_commands", "demo", "--port", "0", "--checkpoint", str(tiny_checkpoint)]
    variables = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/api/images", encoded(), BINARY)
            assert connection.getresponse().status == 202
            assert [len(list(folder.iterdir())) for folder in tmp_path.glob("hmr_demo_*")] == [1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
        assert process.stdout.read() == "Stopped; all uploaded files are deleted.\n"
    assert list(tmp_path.glob("hmr_demo_*")) == []
