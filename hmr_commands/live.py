"""Shows the bodies of whom a camera sees, while it sees them, in a browser: hmr live webcam:0"""

import time
import webbrowser
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from tyro.conf import Positional, arg

from hmr_jax import cli, runtime
from hmr_jax.geometry.intrinsics import ImageCamera, image_camera
from hmr_jax.inference import PersonPrediction
from hmr_jax.rendering.live_scene import LiveScene, Moment, check_viser, view_angle

_SHOWN = 640  # px: longer side of the frames on the page, nearly


def main(
    camera: Positional[Annotated[str, arg(metavar="CAMERA")]] = "webcam:0",
    checkpoint: Path | None = None,
    intrinsics: str = "",
    detector: str = "builtin",
    body: Path | None = None,
    refine: bool = True,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_page: Annotated[bool, arg(name="open")] = False,
) -> None:
    """Serves a scene of the people before a camera, until Ctrl+C or until the camera ends; docs/video.md.

    It needs viser and PyAV: pip install 'hmr_jax[viewer,video]'. Frames that come while one is predicted are left out.

    Args:
        camera: webcam:0 is the first camera of this computer; webcam:FILE a video that stands for one.
        checkpoint: as of hmr predict; by default the built-in model.
        intrinsics: fx,fy,cx,cy in pixels, or a calibration file; by default a field of view of 60 degrees.
        detector: as of hmr predict.
        body: as of hmr predict.
        refine: as of hmr predict.
        host: address to listen at. By default only this computer can reach the page; there is no login.
        port: to listen at; where it is taken, the next free one is.
        open_page: open the page in a browser.
    """
    from hmr_jax.detection import named_detector
    from hmr_jax.geometry.intrinsics import intrinsics_of_each
    from hmr_jax.inference import Predictor
    from hmr_jax.inference.given import read_intrinsics
    from hmr_jax.video.ahead import newest
    from hmr_jax.video.live import as_they_come, live_people
    from hmr_jax.video.webcam import camera_frames

    check_viser()
    runtime.set_up(inference=True)
    (given,) = intrinsics_of_each(read_intrinsics(intrinsics, [Path(camera)]), 1)
    predictor = Predictor.from_checkpoint(checkpoint, body=body, refine=refine)
    predictor.detector = named_detector(detector)
    with camera_frames(camera) as (frames, _):
        scene = LiveScene(predictor.body.faces, host, port)
        if open_page:
            webbrowser.open(f"http://{host}:{scene.server.get_port()}")
        times: deque[float] = deque(maxlen=10)
        try:
            for frame, people in live_people(predictor, newest(as_they_come(frames)), given):
                size = frame.image.shape[1], frame.image.shape[0]
                seen_by = image_camera(size, given, None, predictor.crop_focal_length)
                moment = moment_of(frame.image, people, seen_by)
                if not times:
                    scene.look_at(moment)
                times.append(time.monotonic())
                rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
                scene.show(moment, f"{len(people)} people, {rate:.1f} frames a second")
        except KeyboardInterrupt:  # how one ends it
            pass
        finally:
            scene.server.stop()


def moment_of(image: np.ndarray, people: Mapping[int, PersonPrediction], camera: ImageCamera) -> Moment:
    """What is shown of a frame (H, W, 3) and its people by number."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).reduce(max(max(image.shape) // _SHOWN, 1))
    bodies = {number: person.vertices + person.translation for number, person in people.items()}
    return Moment(bodies, view_angle(height, float(camera.focal_length[1])), width / height, np.asarray(small))


if __name__ == "__main__":
    cli.run(main, "python -m hmr_commands.live")
