"""Serves a live scene of results in a browser: hmr view predictions/photo.npz"""

import functools
import itertools
import json
import time
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.rendering.live_scene import Moment, check_viser, serve_scene, view_angle

Scene = tuple[np.ndarray, Callable[[int], Moment], list[str]]
"""Faces (F, 3), moments by number, and their names."""


def main(
    results: Positional[Annotated[tuple[Path, ...], arg(metavar="RESULT...")]],
    images: Path | None = None,
    body: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_page: Annotated[bool, arg(name="open")] = False,
) -> None:
    """Serves a scene of bodies and their camera, until Ctrl+C. It needs viser: pip install 'hmr_jax[viewer]'.

    Args:
        results: npz files of images, each a moment, or those of the people of one video.
        images: folder of the images, which are then shown in the camera.
        body: file of the body, for videos of another than the built-in one.
        host: address to listen at. By default only this computer can reach the page; there is no login.
        port: to listen at; where it is taken, the next free one is.
        open_page: open the page in a browser.
    """
    check_viser()
    server = serve_scene(*read_scene(results, images, body), host, port)
    if open_page:
        webbrowser.open(f"http://{host}:{server.get_port()}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.stop()


def read_scene(results: tuple[Path, ...], images: Path | None = None, body: Path | None = None) -> Scene:
    """The scene of result files; see `main`.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file holds no result, or they are of images and videos.
    """
    if not results:
        raise ValueError("Name npz files of results, such as predictions/photo.npz.")
    files = [_arrays(path) for path in results]
    kinds = ["vertices" if "header" in one else "poses" if "poses" in one else "" for one in files]
    if "" in kinds:
        raise ValueError(f"{results[kinds.index('')]} is no result of predict.py: give npz files that it wrote.")
    if len(set(kinds)) > 1:
        raise ValueError("Some results are of images and some of videos: view them one after the other.")
    return _of_images(files, images) if kinds[0] == "vertices" else _of_video(files, body)


def _arrays(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no result {path}.")
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no npz file of predict.py: {error}.") from None


def _of_images(files: list[Mapping[str, Any]], folder: Path | None) -> Scene:
    from hmr_jax.io.images import read_image

    headers = [json.loads(str(one["header"])) for one in files]
    names = [header["image"]["file"] for header in headers]

    def moment(number: int) -> Moment:
        one, header = files[number], headers[number]
        placed = one["vertices"] + one["translation"][:, None] if "vertices" in one else ()
        width, height = header["image"]["width"], header["image"]["height"]
        file = None if folder is None else folder / names[number]
        image = None if file is None or not file.is_file() else read_image(file)
        return Moment(
            dict(enumerate(placed)), view_angle(height, header["camera"]["focal_length"][1]), width / height, image
        )

    return files[0]["faces"], functools.lru_cache(8)(moment), names


def _of_video(files: list[Mapping[str, Any]], path: Path | None) -> Scene:
    from hmr_jax.body import load_body_model
    from hmr_jax.video.posing import Posing

    model = load_body_model(path or "default")
    if (topology := str(files[0]["topology"])) != model.topology:
        raise ValueError(f"The motions are of a '{topology}' body: add --body with its file.")
    posing = Posing(model)
    frames = np.unique(np.concatenate([one["frames"] for one in files]))
    times = dict(itertools.chain(*(zip(one["frames"].tolist(), one["times"], strict=True) for one in files)))
    width, height = 2 * files[0]["principal_point"]
    fov = view_angle(height, files[0]["focal_length"][1])

    def moment(number: int) -> Moment:
        bodies = {}
        for person, one in enumerate(files):
            for row in np.flatnonzero(one["frames"] == frames[number]):
                shape, poses = one["betas"], one["poses"][row].reshape(24, 3)
                bodies[person] = posing.vertices(shape, poses) + one["trans"][row]
        return Moment(bodies, fov, width / height)

    return model.faces, moment, [f"frame {frame}, {times[frame]:.2f} s" for frame in frames.tolist()]


if __name__ == "__main__":
    cli.run(main, "python -m hmr_commands.view")
