"""ONNX files in a browser: Chromium runs them by onnxruntime-web, and gives what JAX gives.

Skipped without Chromium, or without the npm package: `npm install onnxruntime-web` in the checkout.
"""

import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import browser
import numpy as np
import pytest

from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.export import export_network, load_network, parity

pytest.importorskip("websockets")
pytest.importorskip("onnxruntime")

PACKAGE = Path(__file__).parents[1] / "node_modules" / "onnxruntime-web" / "dist"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TOLERANCE = 1e-3
PAGE = """<!doctype html><script type="module">
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
window.compare = async function (shape, outputs, repeats) {
  const numbers = async (file) => await (await fetch(file)).arrayBuffer();
  let start = performance.now();
  const session = await ort.InferenceSession.create("network.onnx");
  const loading = performance.now() - start;
  const image = new ort.Tensor("uint8", new Uint8Array(await numbers("image.bin")), shape);
  let found = await session.run({image});
  start = performance.now();
  for (let i = 0; i < repeats; i++) found = await session.run({image});
  const running = (performance.now() - start) / Math.max(repeats, 1);
  const differences = {};
  for (const name of outputs) {
    const wanted = new Float32Array(await numbers(name + ".bin"));
    const got = found[name].data;
    let apart = got.length === wanted.length ? 0 : Infinity, largest = 0;
    for (let i = 0; i < wanted.length; i++) {
      apart = Math.max(apart, Number.isFinite(got[i]) ? Math.abs(got[i] - wanted[i]) : Infinity);
      largest = Math.max(largest, Math.abs(wanted[i]));
    }
    differences[name] = apart / largest;
  }
  return JSON.stringify({differences, loading, running});
};
window.ready = true;
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *_):
        pass


def in_chromium(checkpoint, folder, size, repeats=0):
    """Differences by output, and milliseconds of loading and of a run, of a checkpoint's ONNX file."""
    if browser.PROGRAM is None or not PACKAGE.is_dir():
        pytest.skip("Chromium or the npm package onnxruntime-web is missing.")
    site = folder / "site"
    site.mkdir()
    network = load_network(checkpoint)
    export_network(network, "onnx", site / "network.onnx")
    inputs = parity.sample_inputs(network, size)
    (site / "image.bin").write_bytes(inputs["image"].tobytes())
    expected = network.reference()(inputs)
    for name, array in expected.items():
        (site / f"{name}.bin").write_bytes(np.ascontiguousarray(array, np.float32).tobytes())
    for name in FILES:
        shutil.copy(PACKAGE / name, site)
    (site / "index.html").write_text(PAGE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "chromium").mkdir()
    try:
        with browser.Browser(folder / "chromium") as chromium:
            chromium.open(f"http://127.0.0.1:{server.server_port}/index.html")
            chromium.wait("window.ready === true")
            call = json.dumps([list(inputs["image"].shape), list(expected), repeats])
            chromium.run(
                f"void compare(...{call}).then(said => {{ window.said = said; }}, e => {{ window.said = `${{e}}`; }})"
            )
            chromium.wait("window.said !== undefined", 300)
            return json.loads(chromium.run("window.said"))
    finally:
        server.shutdown()
        server.server_close()


def test_chromium_gives_what_jax_gives(tiny_checkpoint, tmp_path):
    said = in_chromium(tiny_checkpoint, tmp_path, 3)
    assert {"vertices", "keypoints_2d", "betas"} <= set(said["differences"])
    assert max(said["differences"].values()) < TOLERANCE


@pytest.mark.slow
def test_chromium_runs_the_shipped_model(tmp_path):
    said = in_chromium(SHIPPED_MODEL, tmp_path, 1, repeats=3)
    print(said)
    assert max(said["differences"].values()) < TOLERANCE
