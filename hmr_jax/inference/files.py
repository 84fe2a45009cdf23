"""From image files to prediction files; docs/outputs.md describes them.

Images are read, and results drawn and written, by threads while the network runs.
"""

import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hmr_jax.depth import DepthMap
from hmr_jax.depth.providers import DepthProvider, DiskDepth, maps_or_errors
from hmr_jax.geometry.boxes import as_boxes, check_box
from hmr_jax.geometry.intrinsics import image_camera, intrinsics_of_each
from hmr_jax.inference import Predictor
from hmr_jax.inference.earlier import is_done, request_of, what_is_common
from hmr_jax.inference.given import Boxes
from hmr_jax.inference.keypoint_files import boxes_of_keypoints, each_person, given_keypoints
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.result_files import (
    check_no_image_is_a_result,
    is_too_long,
    remove_results,
    result_names,
    results_of,
)
from hmr_jax.inference.results import DEFAULT_KINDS, Kind, write_results
from hmr_jax.inference.stages import Stages
from hmr_jax.io.exif import focal_length_of_file
from hmr_jax.io.images import ignore_pillows_warnings, read_image
from hmr_jax.rendering.export import Axes

CHUNK = 8
"""Images whose crops share batches, at least; three times as many are in memory at once."""
_THREADS = 2  # for reading, and as many for writing


def predict_files(
    predictor: Predictor,
    images: Sequence[Path],
    output: Path,
    boxes: Boxes = None,
    intrinsics: Any = None,
    axes: Axes = "opengl",
    depth: DepthProvider | None = None,
    kinds: Collection[Kind] = DEFAULT_KINDS,
    keep_done: bool = False,
    stages: Stages | None = None,
    keypoints: Sequence[np.ndarray | None] | None = None,
) -> Iterator[Path]:
    """Predicts and writes, for each image NAME, NAME.json, .npz, .glb, _overlay.png and _sampling.png.

    Earlier results of these images in the folder are replaced or removed: what is there afterwards is of this call.

    Args:
        predictor: the network.
        images: files.
        output: folder of the results; created if needed.
        boxes: (n, 4) per image; None: the predictor finds the people, with a warning where there are none. "whole":
            the whole image is one person's box.
        intrinsics: of all images, or of each, as for `Predictor`; None: by EXIF, or the predictor's default.
        axes: of the GLB file.
        depth: of the images, for a network that takes it; images without a map are predicted with a warning.
        kinds: of files that are written; what is not written costs nothing.
        keep_done: whether images are not predicted again whose results of just this request are there: of the same
            file, boxes, camera, detector, network and kinds; never with depth.
        stages: measures how long reading, finding, predicting and writing take.
        keypoints: of the people of each image, as for `Predictor`, or None; without boxes they say where people are.

    Yields:
        The files written, and before them those that were there.

    Raises:
        ValueError: at the end, if images, boxes, intrinsics or depth maps could not be used; the message names them,
            and the other images are done. At once, if depth is given to a network that takes none, or one map to
            several images, or if results would overwrite images.
    """
    ignore_pillows_warnings()
    predictor.check_takes_depth(depth is not None)
    if isinstance(depth, DiskDepth):
        depth.check_images(images)
    if not (boxes is None or isinstance(boxes, str) or len(boxes) == len(images)):
        raise ValueError(f"{len(images)} images but boxes for {len(boxes)}: give one array of boxes per image.")
    cameras = intrinsics_of_each(intrinsics, len(images))
    points = given_keypoints(keypoints, len(images))
    if boxes is None and keypoints is not None:
        boxes = boxes_of_keypoints(points)
    names = result_names(images)
    check_no_image_is_a_result(images, names, output)
    output.mkdir(parents=True, exist_ok=True)
    stages = stages or Stages()
    own_boxes = [boxes if boxes is None or isinstance(boxes, str) else boxes[i] for i in range(len(images))]
    for image, own, seen in zip(images, own_boxes, points, strict=True):
        if own is not None and not isinstance(own, str):
            each_person(seen, len(as_boxes(own, f"The boxes of {image.name}")), image.name)
    requests: Sequence[str | None] = [None] * len(images)
    if keep_done and depth is None:
        common = what_is_common(predictor, axes=axes, kinds=sorted(kinds))
        requests = [request_of(common, *each) for each in zip(images, own_boxes, cameras, points, strict=True)]
    done = {i for i, own in enumerate(requests) if own is not None and is_done(output, names[i], kinds, own)}
    if done:
        print(f"{len(done):,} of {len(images):,} images were done before, in the same way.", file=sys.stderr)
    for i in sorted(done):
        yield from results_of(output, names[i])

    problems: list[str] = []
    todo = [i for i in range(len(images)) if i not in done]
    bar = tqdm(total=len(todo), unit="image", disable=not sys.stderr.isatty() or len(todo) < 2)
    size = max(CHUNK, predictor.batch_size)
    chunks = [todo[start : start + size] for start in range(0, len(todo), size)]
    with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as writers:

        def read(i: int) -> Photo:
            with stages.measure("read"):
                return _load(predictor, images[i], own_boxes[i], cameras[i], names[i])

        def write(i: int, own, one: Photo) -> list[Path]:
            with stages.measure("write"):
                files = write_results(predictor.origin, own, one, output, names[i], axes, kinds, requests[i])
            stages.count(len(own))
            return files

        def finished(writing: list[Future[list[Path]]]) -> Iterator[Path]:
            for future in writing:
                yield from future.result()
                bar.update()

        writing: list[Future[list[Path]]] = []
        reading = [readers.submit(read, i) for i in chunks[0]] if chunks else []
        for number, chunk in enumerate(chunks):
            loaded = _usable(chunk, reading, problems)
            reading = [readers.submit(read, i) for chunk in chunks[number + 1 : number + 2] for i in chunk]
            pixels = {i: one.image for i, one in loaded.items()}
            maps = None if depth is None else _depth_maps(depth, pixels, images, problems)
            with stages.measure("find people"):
                found = _loaded_boxes(predictor, boxes, pixels, images)
            with stages.measure("predict"):
                cameras_of, points_of = [loaded[i].camera for i in pixels], [points[i] for i in pixels]
                people = predictor(list(pixels.values()), found, cameras_of, depth=maps, keypoints=points_of)
            yield from finished(writing)
            for i, photo in zip(pixels, people.photos, strict=True):
                loaded[i] = loaded[i]._replace(camera=photo.camera)  # people may have told it
            writing = [writers.submit(write, i, people.of(index), loaded[i]) for index, i in enumerate(pixels)]
            for i in chunk:
                if i not in pixels:
                    remove_results(output, names[i])
                    bar.update()
        yield from finished(writing)
    bar.close()
    if problems:
        rest = f" ({len(problems)} of {len(images)} images were left out)" if len(images) > 1 else ""
        raise ValueError("\n".join(problems) + rest)


def _load(predictor: Predictor, path: Path, boxes: Any, intrinsics: Any, name: str) -> Photo:
    """Reads an image; raises ValueError or FileNotFoundError if it, its boxes or its intrinsics cannot be used."""
    if is_too_long(name):
        raise ValueError(f"{path}: the name is too long for those of the results; shorten it.")
    image = read_image(path, in_thread=True)
    size = image.shape[1], image.shape[0]
    if boxes is None:
        boxes = []
    elif isinstance(boxes, str):
        boxes = [0, 0, *size]
    for number, box in enumerate(as_boxes(boxes, f"The boxes of {path.name}")):
        check_box(box, size, f"Box {number} of {path.name}")
    exif = focal_length_of_file(path) if intrinsics is None else None
    return Photo(path, image, image_camera(size, intrinsics, exif, predictor.crop_focal_length))


def _usable(chunk: Sequence[int], reading: Sequence[Future[Photo]], problems: list[str]) -> dict[int, Photo]:
    """The images that could be read; what is wrong with the others is added to the problems."""
    loaded = {}
    for i, future in zip(chunk, reading, strict=True):
        try:
            loaded[i] = future.result()
        except (ValueError, FileNotFoundError) as error:
            problems.append(str(error))
    return loaded


def _loaded_boxes(predictor: Predictor, boxes: Boxes, loaded: dict[int, np.ndarray], images: Sequence[Path]) -> Any:
    """Boxes of the loaded images, given or found, as for `Predictor`."""
    if isinstance(boxes, str):
        return boxes
    if boxes is not None:
        return [boxes[i] for i in loaded]
    found = predictor.detect(list(loaded.values()))
    if empty := [images[i].name for i, own in zip(loaded, found, strict=True) if not len(own.boxes)]:
        warnings.warn(f"No people were found in {', '.join(empty)}.", stacklevel=3)
    return found


def _depth_maps(
    provider: DepthProvider, loaded: dict[int, np.ndarray], images: Sequence[Path], problems: list[str]
) -> list[DepthMap | None]:
    """Maps of the loaded images. Images whose map cannot be used are removed; a warning names those without one."""
    found = dict(zip(loaded, maps_or_errors(provider, list(loaded.values()), [images[i] for i in loaded]), strict=True))
    for i, depth in found.items():
        if isinstance(depth, ValueError):
            problems.append(str(depth))
            del loaded[i]
        elif depth is None:
            warnings.warn(f"{images[i].name} has no depth map: the prediction is from the image alone.", stacklevel=2)
    return [depth for depth in found.values() if not isinstance(depth, ValueError)]
