"""A server of the demo in a thread of the test, and requests to it."""

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from hmr_commands.demo.limits import Limits
from hmr_commands.demo.server import bind, make_server
from hmr_commands.demo.storage import Storage
from hmr_commands.demo.worker import Worker
from hmr_jax.detection import Detections
from hmr_jax.inference import Predictor

BINARY = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
FOUND = (20.0, 10.0, 60.0, 100.0)
"""The box that `Finder` finds."""
DRAWN = [30.0, 20.0, 80.0, 110.0]
"""A box that is drawn by hand."""


class Finder:
    """A detector that always finds one person, or none."""

    def __init__(self, boxes=(FOUND,)):
        self.boxes = boxes

    def __call__(self, image: np.ndarray) -> Detections:
        return Detections(np.float32(self.boxes).reshape(-1, 4), np.full(len(self.boxes), 0.875, np.float32))


def tiny_predictor(checkpoint: Path) -> Predictor:
    """Of the tiny checkpoint, with a `Finder`."""
    made = Predictor.from_checkpoint(checkpoint)
    made.detector = Finder()
    return made


def encoded(kind: str = "PNG", size: tuple[int, int] = (90, 120)) -> bytes:
    """An image file of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        def no_constant(name: str) -> None:
            raise AssertionError(name)

        return json.loads(self.data, parse_constant=no_constant)

    @property
    def error(self) -> str:
        """The sentence of an error, which is all that there is of it."""
        assert list(self.json) == ["error"]
        return self.json["error"]


class Demo:
    """A running server."""

    def __init__(self, port: int, storage: Storage, worker: Worker):
        self.port, self.storage, self.worker = port, storage, worker
        self.url = f"http://127.0.0.1:{port}/"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            said = connection.getresponse()
            return Answer(said.status, {key.lower(): value for key, value in said.getheaders()}, said.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def upload(self, data: Any, **headers: str) -> Answer:
        return self.ask("POST", "/api/images", data, BINARY | headers)

    def result(self, started: Answer) -> dict[str, Any]:
        """What the server says at the end of what was started."""
        assert started.status == 202, started
        end = time.monotonic() + 60
        while (said := self.get(f"/api/jobs/{started.json['job']}").json)["state"] in ("waiting", "running"):
            assert time.monotonic() < end
            time.sleep(0.02)
        return said

    def image(self, data: bytes) -> str:
        """The name of an image that was sent and looked at."""
        return self.result(self.upload(data))["result"]["image"]

    def predict(self, image: str, boxes: Any, **fields: Any) -> Answer:
        text = json.dumps({"boxes": boxes, **fields})
        return self.ask("POST", f"/api/images/{image}/people", text, JSON)


@contextlib.contextmanager
def running(predictor: Predictor, limits: Limits | None = None) -> Iterator[Demo]:
    """A server until the end of the block."""
    limits = limits or Limits(requests_per_minute=1000)
    storage, worker = Storage(limits.images, limits.keep_seconds), Worker(limits.waiting)
    with bind("127.0.0.1", 0) as made:
        server = make_server(predictor, storage, worker, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [made]})
        thread.start()
        try:
            end = time.monotonic() + 30
            while not server.started:
                assert time.monotonic() < end
                time.sleep(0.01)
            yield Demo(made.getsockname()[1], storage, worker)
        finally:
            server.should_exit = True
            thread.join(30)
            assert worker.stop(30)
            storage.close()
    assert not thread.is_alive()
