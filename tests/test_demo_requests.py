"""What the demo's server refuses: large, slow and wrong requests, too many of them, and those of other sites."""

import contextlib
import socket
import struct
import threading
import time
import zlib

import pytest
from demo_server import DRAWN, JSON, encoded, running

from hmr_commands.demo.guard import Guard, is_loopback
from hmr_commands.demo.limits import Limits


@pytest.fixture(scope="module")
def image(demo) -> str:
    return demo.image(encoded())


def bomb() -> bytes:
    """The start of a PNG that says to be 30,000 by 30,000."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0), b"IDAT"]
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"just text, no image", "is not an image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "is not an image that can"),
        (encoded("JPEG", (300, 300))[:2000], "damaged or cut off"),
        (bomb(), "too large"),
    ],
    ids=["text", "EPS", "cut off", "too many pixels"],
)
def test_what_is_no_image_is_refused_with_a_sentence(demo, data, expected):
    started = demo.upload(data, **{"Content-Type": "image/jpeg"})
    said = demo.result(started)
    assert said["state"] == "failed"
    assert expected in said["error"]
    assert str(demo.storage.folder) not in said["error"]
    assert said["error"].startswith("This file ")
    assert demo.predict(started.json["image"], [DRAWN]).error.startswith("The image is not read yet")


def test_uploads_are_measured_while_they_arrive(demo_predictor):
    with running(demo_predictor, Limits(upload_bytes=50_000)) as demo:
        before = list(demo.storage.folder.iterdir())
        with socket.create_connection(("127.0.0.1", demo.port), timeout=20) as connection:
            announced = f"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1:{demo.port}\r\n"
            announced += "Content-Type: image/png\r\nContent-Length: 50001\r\n\r\n"
            connection.sendall(announced.encode())  # and not a byte of the image
            assert b" 413 " in connection.recv(4096).splitlines()[0]
        sent = []

        def endless():
            while len(sent) < 1000:
                sent.append(1)
                time.sleep(0.002)
                yield bytes(10_000)

        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            answer = demo.upload(endless())
            assert answer.status == 413
            assert answer.error == "The image has more than 48.8281 KiB: shrink it first."
        assert len(sent) < 1000
        assert demo.upload(b"").error == "The upload is empty: send an image."
        assert list(demo.storage.folder.iterdir()) == before
        assert demo.ask("POST", "/api/images/x/people", b" " * 70_000, JSON).status == 413


def test_an_upload_that_takes_too_long_ends(demo_predictor):
    with running(demo_predictor, Limits(upload_seconds=0.2)) as demo:
        with socket.create_connection(("127.0.0.1", demo.port), timeout=20) as connection:
            head = f"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1:{demo.port}\r\n"
            connection.sendall(f"{head}Content-Type: image/png\r\nContent-Length: 9\r\n\r\nabc".encode())
            assert b" 408 " in connection.recv(4096).splitlines()[0]
        assert list(demo.storage.folder.iterdir()) == []


EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": EVIL}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Host": "localhost:9", "Origin": "http://localhost:9"}, 202),  # a tunnel of ssh
    ],
)
def test_other_sites_cannot_post(demo, headers, status):
    answer = demo.upload(encoded(), **headers)
    assert answer.status == status
    if status != 202:
        assert answer.error.endswith(".")


def test_other_sites_cannot_read(demo, image):
    path = f"/api/images/{image}/shown.jpg"
    assert demo.get(path, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert demo.get(path, Host="evil.example").status == 403
    assert demo.get("/", **{"Sec-Fetch-Site": "cross-site"}).status == 200  # a link on another page
    assert "access-control-allow-origin" not in demo.get(path, Origin=EVIL).headers


def test_names_of_hosts():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")))
    everywhere, here = (Guard(None, Limits(), host) for host in ("0.0.0.0", "127.0.0.1"))
    for host, open_, own in (
        ("192.168.1.7:7860", True, False),
        ("[fe80::1]:7860", True, False),
        (f"{socket.gethostname()}:7860", True, socket.gethostname() == "localhost"),
        ("evil.example:7860", False, False),
        ("LOCALHOST", True, True),
    ):
        assert (everywhere._is_own(host), here._is_own(host)) == (open_, own), host


def test_every_answer_has_the_headers(demo, image):
    paths = ("/", "/static/main.js", "/nothing", "/api/about", f"/api/images/{image}/shown.jpg")
    for answer in (*map(demo.get, paths), demo.get("/", Host="evil.example"), demo.upload(b"")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_requests_of_a_client_are_counted(demo_predictor):
    with running(demo_predictor, Limits(requests_per_minute=3)) as demo:
        assert [demo.upload(b"").status for _ in range(5)] == [400, 400, 400, 429, 429]
        answer = demo.upload(b"")
        assert answer.error.startswith("More than 3 requests within a minute: wait ")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert demo.get("/api/about").status == 200


def test_a_full_queue_takes_no_more(demo_predictor):
    with running(demo_predictor, Limits(waiting=1)) as demo:
        image = demo.image(encoded())
        go, started = threading.Event(), threading.Event()
        demo.worker.submit(lambda progress: (started.set(), go.wait(30), {})[-1])
        assert started.wait(30)
        waiting = demo.upload(encoded())
        assert demo.get(f"/api/jobs/{waiting.json['job']}").json["ahead"] == 1
        kept = {path.name for path in demo.storage.folder.iterdir()}
        for answer in (demo.upload(encoded()), demo.predict(image, [DRAWN])):
            assert answer.status == 429
            assert answer.error == "The server is busy: try again in a minute."
            assert answer.headers["retry-after"] == "60"
        assert {path.name for path in demo.storage.folder.iterdir()} == kept
        go.set()
        assert demo.result(waiting)["state"] == "done"


@pytest.mark.parametrize(
    ("boxes", "fields", "expected"),
    [
        ([], {}, "There are 0 boxes: give 1 to 48"),
        ([DRAWN] * 49, {}, "There are 49 boxes: give 1 to 48"),
        ([[50, 50, 40, 60]], {}, "Box 1 (50, 50, 40, 60) is empty"),
        ([DRAWN, [500, 500, 600, 600]], {}, "Box 2 (500, 500, 600, 600) lies outside its image of 90x120"),
        ([[1, 2, 3]], {}, 'Send {"boxes"'),
        ([[float("nan"), 0, 9, 9]], {}, 'Send {"boxes"'),
        ("whole", {}, 'Send {"boxes"'),
        ([DRAWN], {"focal_length": 1}, "A focal length of 1 px is not possible for an image of 90x120: give 12 to"),
        ([DRAWN], {"focal_length": float("inf")}, 'Send {"boxes"'),
        ([DRAWN], {"focal_length": "wide"}, 'Send {"boxes"'),
        ([DRAWN], {"output": "/tmp"}, 'Send {"boxes"'),
    ],
)
def test_wrong_requests_are_answered_with_a_sentence(demo, image, boxes, fields, expected):
    answer = demo.predict(image, boxes, **fields)
    assert answer.status == 400
    assert answer.error.startswith(expected)


def test_no_path_leads_out_of_the_page(demo, image):
    result = demo.result(demo.predict(image, [DRAWN]))["result"]["result"]
    paths = (
        "/static/..%2fapp.py", "/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/api/jobs/x", "/docs",
        "/openapi.json", f"/api/results/{result}/..%2f..%2fimage", f"/api/results/{result}/image.json",
        "/api/images/..%2f..%2fetc%2fpasswd/shown.jpg", "/api/images/%00/shown.jpg",
        f"/api/images/{'a' * 5000}/shown.jpg",
    )  # fmt: skip
    for path in paths:
        answer = demo.get(path)
        assert answer.status == 404, path
        assert answer.error
