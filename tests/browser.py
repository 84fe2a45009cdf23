"""Chromium without a window, driven through its DevTools protocol; notes every error of a page and of its frames."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars", "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
_KEYS = {
    "Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Delete": 46,
}  # fmt: skip
SHIFT = 8


class Browser:
    """A browser with one page."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900, mobile: bool = False, dark: bool = False):
        """Starts it.

        Args:
            folder: an empty one for its files.
            width: of the page, px.
            height: of the page, px.
            mobile: whether it is a phone.
            dark: whether the reader prefers dark pages.
        """
        from websockets.sync.client import connect

        flags = [*_FLAGS, f"--user-data-dir={folder}"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
        assert PROGRAM is not None
        self._process = subprocess.Popen([PROGRAM, *flags, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            port = int(_when_written(folder / "DevToolsActivePort").split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(one for one in json.load(answer) if one["type"] == "page")
            self._socket = connect(target["webSocketDebuggerUrl"], max_size=None)
        except BaseException:
            self._process.kill()
            raise
        self._number = 0
        self.errors: list[str] = []
        """Messages of the console and exceptions."""
        self._watch("")
        self.send("Page.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        self.send("Emulation.setTouchEmulationEnabled", enabled=mobile)
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(10)

    def send(self, method: str, session: str = "", wait: bool = True, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol; returns its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._socket.send(json.dumps(message))
        while wait:
            said = json.loads(self._socket.recv(60))
            if said.get("id") == number:
                assert "error" not in said, (method, said["error"])
                return said["result"]
            self._event(said)
        return {}

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is awaited."""
        said = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"{condition}; page: {self.run('document.body.innerText')[:500]}"
            time.sleep(0.05)

    def pause(self, seconds: float) -> None:
        """Lets the page and its frames go on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run("0")
            time.sleep(0.05)

    def open(self, url: str) -> None:
        """Opens a page."""
        self.send("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def key(self, key: str, modifiers: int = 0, times: int = 1) -> None:
        """Presses a key."""
        code = _KEYS.get(key, ord(key[0].upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.send(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                    modifiers=modifiers, **({"text": text} if text and kind == "keyDown" else {}),
                )  # fmt: skip

    def drag(self, *points: tuple[float, float]) -> None:
        """Presses the mouse at the first point and releases it at the last."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def swipe(self, *points: tuple[float, float]) -> None:
        """Puts a finger down at the first point and takes it away at the last."""
        kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
        for kind, (x, y) in zip(kinds, points, strict=True):
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def choose_file(self, selector: str, path: Path) -> None:
        """Gives a file to an input element."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Writes a PNG of the page, or of what the window shows of it."""
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            data = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        else:
            data = self.send("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))

    def _watch(self, session: str) -> None:
        for method in ("Runtime.enable", "Log.enable"):
            self.send(method, session, wait=not session)
        # Frames of an origin of their own are targets of their own.
        self.send(
            "Target.setAutoAttach",
            session,
            wait=not session,
            autoAttach=True,
            waitForDebuggerOnStart=True,
            flatten=True,
        )

    def _event(self, said: dict[str, Any]) -> None:
        method, about = said.get("method"), said.get("params", {})
        if method == "Target.attachedToTarget":
            session = about["sessionId"]
            self._watch(session)
            self.send("Runtime.runIfWaitingForDebugger", session, wait=False)
        elif method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")


def _when_written(path: Path) -> str:
    end = time.monotonic() + 30
    while not (path.is_file() and path.read_text().count("\n")):
        assert time.monotonic() < end, f"the browser wrote no {path}"
        time.sleep(0.05)
    return path.read_text()
