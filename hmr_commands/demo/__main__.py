"""Serves a page in which people of images are found, framed and predicted: hmr demo"""

import warnings
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from hmr_jax import cli, runtime


def main(
    checkpoint: Path | None = None,
    detector: str = "builtin",
    camera: Literal["perspective", "hmr2"] = "perspective",
    body: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_page: Annotated[bool, arg(name="open")] = False,
) -> None:
    """Serves a page: images in by file or webcam, people found or framed by hand, bodies out.

    Images stay on this computer, and are deleted some minutes after their last use and when the server stops.

    Args:
        checkpoint: a run's folder, one of its checkpoints, or an exported folder; by default the built-in model.
        detector: finds the people: "builtin", or an ONNX file of YOLOX, YOLOv8 and later, RTMDet, D-FINE or RT-DETR;
            docs/detection.md.
        camera: hmr2: the very long lens of HMR2.0, 5,000 px for a crop of 256 px, and its formula of the translation.
        body: file or folder of the checkpoint's body, if it is not where it was in training; by default
            HMR_JAX_BODIES is searched.
        host: address to listen at. By default only this computer can reach the page; there is no login.
        port: to listen at; 0 takes a free one.
        open_page: open the page in a browser.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise ImportError("The demo needs FastAPI and uvicorn: pip install 'hmr_jax[demo]'.") from None
    from hmr_commands.demo.limits import Limits
    from hmr_commands.demo.server import bind, serve, stopped_by_signals
    from hmr_jax.detection import named_detector
    from hmr_jax.inference import Predictor
    from hmr_jax.io.images import ignore_pillows_warnings

    runtime.set_up(inference=True)
    ignore_pillows_warnings()
    warnings.filterwarnings("ignore", message="No depth given")  # the page has none to give
    with stopped_by_signals(), bind(host, port) as made:
        predictor = Predictor.from_checkpoint(checkpoint, body=body, camera=camera)
        predictor.detector = named_detector(detector)
        serve(predictor, made, host, Limits(), open_page)


if __name__ == "__main__":
    cli.run(main, "python -m hmr_commands.demo")
