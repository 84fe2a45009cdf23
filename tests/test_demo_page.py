"""The demo's page in Chromium: no error in the console, usable with the keyboard alone, and with the mouse."""

import base64
import io
import re
import time

import browser
import numpy as np
import pytest
from browser import SHIFT, Browser
from demo_server import FOUND
from PIL import Image

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium")
WIDTH, HEIGHT = 200, 160


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def page(window, demo):
    window.errors.clear()
    demo.detector.boxes = (FOUND,)
    window.open("about:blank")
    window.open(demo.url)
    window.wait("!document.getElementById('sample').hidden")  # it knows the limits
    yield window
    assert window.errors == []


def boxes(page) -> list[tuple[int, ...]]:
    """Width, height, left and top of each box, as a screen reader says them."""
    labels = page.run("[...document.querySelectorAll('#boxes li')].map((one) => one.ariaLabel)")
    found = [re.match(r"Person \d+: (\d+) by (\d+) pixels at (\d+), (\d+), ", label) for label in labels]
    return [tuple(map(int, one.groups())) for one in found]


def choose(page, photo) -> None:
    page.choose_file("#file", photo)
    page.wait("!document.getElementById('edit').hidden")


def frame(page, name: str) -> list[float]:
    """Left, top, right and bottom of an element in the window."""
    return page.run(
        "(({left, top, right, bottom}) => [left, top, right, bottom])"
        f"(document.getElementById('{name}').getBoundingClientRect())"
    )


def tab_to(page, name: str) -> None:
    """Presses Tab until the element of this id has the focus."""
    for _ in range(20):
        if page.run("document.activeElement.id") == name:
            return
        page.key("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_a_box_is_drawn_and_predicted_with_the_keyboard(page, demo, photo):
    demo.detector.boxes = ()
    tab_to(page, "choose")
    choose(page, photo)
    assert page.run("document.getElementById('none').hidden") is False
    assert page.run("document.getElementById('predict').disabled") is True
    assert page.run("document.activeElement.id") == "add"
    page.key("Enter")
    assert boxes(page) == [(60, 112, 70, 24)]
    page.key("ArrowRight", times=3)
    page.key("ArrowUp")
    assert boxes(page) == [(60, 112, 76, 22)]
    page.key("ArrowLeft", SHIFT, times=5)
    page.key("ArrowDown", SHIFT, times=2)
    assert boxes(page) == [(50, 116, 76, 22)]
    page.key("ArrowLeft", times=60)
    assert boxes(page) == [(50, 116, 0, 22)], "boxes stay in the image"
    tab_to(page, "predict")
    page.key("Enter")
    page.wait("!document.getElementById('results').hidden")
    rows = page.run("[...document.querySelectorAll('#rows tr')].map((one) => one.innerText.split('\\t'))")
    assert len(rows) == 1
    assert rows[0][2:] == ["by hand", "0, 22, 50, 138"]
    assert page.run("document.getElementById('overlay').decode().then(() => true)")


def test_boxes_are_removed_with_the_keyboard(page, photo):
    choose(page, photo)
    assert boxes(page) == [(40, 90, 20, 10)]
    assert page.run("document.activeElement.tagName") == "LI"
    tab_to(page, "add")
    page.key("Enter")
    assert len(boxes(page)) == 2
    page.key("Delete")
    assert boxes(page) == [(40, 90, 20, 10)]
    page.key("Delete")
    assert boxes(page) == []
    assert page.run("document.getElementById('predict').disabled") is True
    assert page.run("document.activeElement.id") == "add"


def test_boxes_are_drawn_moved_and_resized_with_the_mouse(page, photo):
    choose(page, photo)
    left, top, right, _ = frame(page, "stage")

    def place(x, y):
        return left + (right - left) / WIDTH * x, top + (right - left) / WIDTH * y

    page.drag(place(100, 30), place(120, 60), place(180, 150))
    assert boxes(page)[1] == pytest.approx((80, 120, 100, 30), abs=1)
    page.drag(place(140, 90), place(130, 85), place(120, 80))
    assert boxes(page)[1] == pytest.approx((80, 120, 80, 20), abs=1)
    page.drag(place(160, 140), place(150, 100), place(130, 90))
    assert boxes(page)[1] == pytest.approx((50, 70, 80, 20), abs=1)
    page.drag(place(150, 30), place(151, 31))  # a click
    assert len(boxes(page)) == 2


def region(page, folder) -> np.ndarray:
    """What the viewer shows."""
    page.run("document.getElementById('viewer').scrollIntoView({block: 'center', behavior: 'instant'})")
    path = folder / "screen.png"
    page.screenshot(path, whole=False)
    with Image.open(io.BytesIO(path.read_bytes())) as screen:
        return np.asarray(screen.convert("L").crop([round(side) for side in frame(page, "viewer")]), np.float32)[
            8:-8, 8:-8
        ]


def test_bodies_are_turned_with_the_keyboard(page, photo, tmp_path):
    choose(page, photo)
    page.run("document.getElementById('predict').click()")
    page.wait("!document.getElementById('results').hidden")

    def until(changed) -> np.ndarray:
        end = time.monotonic() + 30
        while not changed(shown := region(page, tmp_path)):
            assert time.monotonic() < end
            page.pause(0.2)
        return shown

    first = until(lambda shown: shown.std() > 1)
    page.run("document.getElementById('viewer').focus()")
    page.key("Tab")  # to the drawing inside
    page.key("ArrowRight", times=5)
    until(lambda shown: np.abs(shown - first).mean() > 0.1)


@pytest.mark.parametrize(
    "event",
    ["new ClipboardEvent('paste', {clipboardData: data})", "new DragEvent('drop', {dataTransfer: data})"],
    ids=["pasted", "dropped"],
)
def test_an_image_is_pasted_or_dropped(page, photo, event):
    data = base64.b64encode(photo.read_bytes()).decode()
    page.run(
        f"""(() => {{
          const bytes = Uint8Array.from(atob("{data}"), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], "photo.png", {{ type: "image/png" }}));
          window.dispatchEvent({event});
        }})()"""
    )
    page.wait("!document.getElementById('edit').hidden")
    assert boxes(page) == [(40, 90, 20, 10)]


def test_what_the_server_refuses_is_shown(page, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("no image")
    page.choose_file("#file", path)
    page.wait("!document.getElementById('problem').hidden")
    assert page.run("document.getElementById('problem').innerText").startswith("This file is not an image")
    assert page.run("document.getElementById('start').hidden") is False


def test_an_image_is_taken_with_the_camera(page):
    page.run("document.getElementById('webcam').click()")
    page.wait("document.getElementById('video').videoWidth > 0 && !document.getElementById('live').hidden")
    page.run("document.getElementById('snap').click()")
    page.wait("!document.getElementById('edit').hidden")
    assert page.run("document.getElementById('video').srcObject") is None


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_the_page_without_scrolling_sideways(demo, photo, tmp_path, dark):
    with Browser(tmp_path / "browser", 360, 740, mobile=True, dark=dark) as phone:
        phone.open(demo.url)
        choose(phone, photo)
        left, top, _, _ = frame(phone, "stage")
        places = [(left + 150, top + 40), (left + 180, top + 70), (left + 200, top + 120)]
        phone.swipe(*places)
        assert len(boxes(phone)) == 1, "a finger scrolls"
        phone.run("window.scrollTo(0, 0)")
        phone.run("document.getElementById('draw').click()")
        phone.swipe(*places)
        assert len(boxes(phone)) == 2
        phone.run("document.getElementById('predict').click()")
        phone.wait("!document.getElementById('results').hidden")
        assert phone.run("document.documentElement.scrollWidth") == 360
        assert phone.errors == []


def test_errors_of_a_page_and_its_frames_are_noticed(window, demo):
    """That the other tests can fail."""
    window.open(f"{demo.url}static/icon.svg")
    window.open(demo.url)
    window.errors.clear()
    window.run(
        """new Promise((done) => {
          const frame = document.getElementById("viewer");
          frame.addEventListener("load", done);
          frame.src = "/api/results/none/bodies/0";
          console.error("first");
          setTimeout(() => { throw new Error("second"); });
        })"""
    )
    window.pause(0.5)
    window.run("document.getElementById('viewer').srcdoc = '<script>1</script>'")
    window.pause(0.5)
    assert any("inline script" in error for error in window.errors), "in a frame of an origin of its own"
    assert "first" in window.errors
    assert any("second" in error for error in window.errors)
    assert any("404" in error for error in window.errors)
