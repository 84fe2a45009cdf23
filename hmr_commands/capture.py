"""One body for each moment out of what several calibrated cameras see."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from hmr_jax import runtime


def main(
    calibration: Positional[Annotated[Path, arg(metavar="CALIBRATION")]],
    inputs: Positional[Annotated[tuple[str, ...], arg(metavar="INPUT...")]],
    output: Path = Path("captured"),
    units: Literal["file", "m", "cm", "mm"] = "file",
    refine_cameras: bool = False,
    rate: float | None = None,
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    body: Path | None = None,
    axes: Literal["opencv", "opengl", "blender"] = "opengl",
    overlay: bool = True,
) -> None:
    """Writes the body of a person at each moment: capture.npz, .glb, .bvh, .json, and overlays of some moments.

    The views must show one person, and frame k of each must be of the same time. Keypoints that are found in videos are
    kept in the folder of the results, for another run.

    Args:
        calibration: file of Qualisys, Pose2Sim, Anipose, OpenCV or EasyMocap; docs/howto/capture.md.
        inputs: a video, a folder of OpenPose's JSON or an npz file of keypoints for each camera, with the camera's name
            in its own, or NAME=PATH. Cameras without one are left out.
        output: folder of the results.
        units: of the positions in the calibration; "file": as its format has them, millimetres of Qualisys and metres
            of others.
        refine_cameras: turn the cameras about their positions until they agree best on the person.
        rate: frames per second of keypoints that do not know it; 30 by default.
        up: the world's axis that points up; by default that along which the person stands.
        body: file or folder of the body that is fitted; by default the built-in one.
        axes: of the .glb and .bvh files; "opengl" (Y up) is glTF's own.
        overlay: whether the bodies are drawn over some frames of the videos, capture_overlay.jpg.
    """
    from hmr_jax.body import load_body_model
    from hmr_jax.io.calibration import read_calibration
    from hmr_jax.video.capture import predict_capture
    from hmr_jax.video.capture.overlay import write_overlay
    from hmr_jax.video.capture.result import report

    runtime.set_up(inference=True)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    cameras = read_calibration(calibration, None if units == "file" else units)
    model = None if body is None else load_body_model(body)
    capture = predict_capture(cameras, inputs, output, refine_cameras, rate, up, model)
    files = capture.save(output, axes)
    if overlay:
        files += write_overlay(capture, output)
    print("\n".join(report(capture)), file=sys.stderr)
    for file in files:
        print(file)
