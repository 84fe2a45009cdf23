"""From image files to prediction files; docs/outputs.md describes them."""

import dataclasses
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

from hmr_jax import __version__
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.depth import DepthMap
from hmr_jax.depth.providers import DepthProvider, DiskDepth, maps_or_errors
from hmr_jax.geometry import matrix_to_axis_angle
from hmr_jax.geometry.boxes import check_box
from hmr_jax.inference import PersonPrediction, Predictor, camera_of
from hmr_jax.io.images import read_image
from hmr_jax.rendering.details import draw_details
from hmr_jax.rendering.export import Axes, write_glb, write_json, write_npz
from hmr_jax.rendering.overlay import PALETTE, three_views
from hmr_jax.rendering.plots import draw_sampling

CHUNK = 16  # images that are in memory at once; their crops share batches


Boxes = Sequence[np.ndarray] | Literal["whole"] | None
"""(n, 4) of every image; the whole of each image; or None: the people are found."""


def read_boxes(text: str, images: Sequence[Path]) -> Boxes:
    """Boxes of every image from "x0,y0,x1,y1" or the path of a JSON file; "whole" for itself, and None for "".

    The JSON file holds {file name: [[x0, y0, x1, y1], ...]}, or only the list for a single image.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if boxes are missing or malformed.
    """
    if not text:
        return None
    if text == "whole":
        return "whole"
    if not text.lower().endswith(".json"):
        numbers = [_parse_number(part, text) for part in text.split(",")]
        if len(numbers) != 4 or len(images) != 1:
            raise ValueError(f"--boxes {text}: give x0,y0,x1,y1 for one image, or a JSON file for several.")
        return [np.array([numbers])]
    if not Path(text).is_file():
        raise FileNotFoundError(f"There is no box file {text}.")
    try:
        table = json.loads(Path(text).read_text())
    except ValueError as error:
        raise ValueError(f"{text} is not valid JSON: {error}.") from error
    if isinstance(table, list) and len(images) == 1:
        table = {images[0].name: table}
    if not isinstance(table, dict):
        raise ValueError(f"{text} must hold {{file name: [[x0, y0, x1, y1], ...]}}.")
    if missing := [path.name for path in images if path.name not in table and str(path) not in table]:
        raise ValueError(f"{text} has no boxes for {', '.join(missing[:5])}; an empty list says that nobody is there.")
    return [_box_array(table.get(str(path), table.get(path.name)), path, text) for path in images]


def _box_array(rows: Any, image: Path, source: str) -> np.ndarray:
    try:
        boxes = np.array(rows, np.float32).reshape(-1, 4)
    except (TypeError, ValueError):
        raise ValueError(f"{source}: the boxes of {image.name} are not a list of [x0, y0, x1, y1].") from None
    return boxes


def _parse_number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise ValueError(f"'{part.strip()}' in '{text}' is not a number.") from None


def parse_intrinsics(text: str) -> np.ndarray | None:
    """ "fx,fy,cx,cy" -> (4,) px; "" -> None."""
    return np.array([_parse_number(part, text) for part in text.split(",")]) if text else None


def predict_files(
    predictor: Predictor,
    images: Sequence[Path],
    output: Path,
    boxes: Boxes = None,
    intrinsics: np.ndarray | None = None,
    axes: Axes = "opengl",
    depth: DepthProvider | None = None,
) -> Iterator[Path]:
    """Predicts and writes, for each image NAME, NAME.json, .npz, .glb, _overlay.png and _sampling.png.

    Args:
        predictor: the network.
        images: files.
        output: folder of the results; created if needed.
        boxes: (n, 4) per image; None: the predictor finds the people, with a warning where there are none. "whole":
            the whole image is one person's box.
        intrinsics: of all images, as for `Predictor`.
        axes: of the GLB file.
        depth: of the images, for a network that takes it; images without a map are predicted with a warning.

    Yields:
        The files written.

    Raises:
        ValueError: at the end, if images, boxes or depth maps could not be used; the message names them, and the other
            images are done. At once, if depth is given to a network that takes none.
    """
    predictor.check_takes_depth(depth is not None)
    if isinstance(depth, DiskDepth):
        depth.check_count(len(images))
    names = _unique_names(images)
    output.mkdir(parents=True, exist_ok=True)
    problems = []
    bar = tqdm(total=len(images), unit="image", disable=not sys.stderr.isatty() or len(images) == 1)
    for start in range(0, len(images), CHUNK):
        loaded: dict[int, np.ndarray] = {}
        for i in range(start, min(start + CHUNK, len(images))):
            try:
                image = read_image(images[i])
                for number, box in enumerate([] if boxes is None or isinstance(boxes, str) else boxes[i]):
                    check_box(box, (image.shape[1], image.shape[0]), f"Box {number} of {images[i].name}")
                loaded[i] = image
            except ValueError as error:
                problems.append(str(error))
                bar.update()
        maps = None if depth is None else _depth_maps(depth, loaded, images, problems)
        loaded_boxes = _loaded_boxes(predictor, boxes, loaded, images)
        people = predictor(list(loaded.values()), loaded_boxes, intrinsics, depth=maps)
        for index, (i, image) in enumerate(loaded.items()):
            own = [person for person in people if person.image_index == index]
            about = header(predictor, images[i], image, intrinsics)
            yield from write_results(predictor, own, image, about, output, names[i], axes)
            bar.update()
    bar.close()
    if problems:
        rest = f" ({len(problems)} of {len(images)} images were left out)" if len(images) > 1 else ""
        raise ValueError("\n".join(problems) + rest)


def _loaded_boxes(predictor: Predictor, boxes: Boxes, loaded: dict[int, np.ndarray], images: Sequence[Path]) -> Boxes:
    """Boxes of the loaded images, given or found."""
    if isinstance(boxes, str):
        return boxes
    if boxes is not None:
        return [boxes[i] for i in loaded]
    found = predictor.find_boxes(list(loaded.values()))
    if empty := [images[i].name for i, own in zip(loaded, found, strict=True) if not len(own)]:
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


def write_results(
    predictor: Predictor,
    people: Sequence[PersonPrediction],
    image: np.ndarray,
    about: Mapping[str, Any],
    output: Path,
    name: str,
    axes: Axes = "opengl",
) -> list[Path]:
    """Writes the files of one image, first to a temporary folder and then to the output folder.

    Args:
        predictor: the network.
        people: its predictions.
        image: (H, W, 3) uint8.
        about: from `header`.
        output: folder of the results.
        name: of the files, without suffix.
        axes: of the GLB file.

    Returns:
        The files written.
    """
    camera = about["camera"]
    focal, center = camera["focal_length"], camera["principal_point"]
    matrix = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]], np.float64)
    faces = predictor.body.faces
    records = [person_record(person) for person in people]
    compact = [{key: value for key, value in record.items() if key not in _NPZ_ONLY} for record in records]
    with tempfile.TemporaryDirectory(dir=output, prefix=".part-") as folder:
        part = Path(folder)
        write_json(part / f"{name}.json", about, compact)
        write_npz(part / f"{name}.npz", about, records, faces=faces)
        vertices = [person.vertices + person.translation for person in people]
        errors = [(p.keypoints_3d + p.translation, p.sigma) for p in people if p.sigma is not None]
        Image.fromarray(three_views(image, vertices, faces, matrix, errors=errors)).save(
            part / f"{name}_overlay.png", compress_level=_PNG_LEVEL
        )
        if people:
            bodies, translations = [p.vertices for p in people], np.stack([p.translation for p in people])
            write_glb(part / f"{name}.glb", bodies, faces, translations, PALETTE, axes)
        height, width = predictor.config.model.encoder.image_size
        for number, person in enumerate(people):
            suffix = f"_{number}" if len(people) > 1 else ""
            for kind, panel in _detail_images(person, width / height):
                Image.fromarray(panel).save(part / f"{name}_{kind}{suffix}.png", compress_level=_PNG_LEVEL)
        return [file.replace(output / file.name) for file in sorted(part.iterdir())]


def _detail_images(person: PersonPrediction, seen_width: float) -> Iterator[tuple[str, np.ndarray]]:
    """Visualizations of the network's other outputs, by kind."""
    if person.sampling_points is not None:
        yield "sampling", draw_sampling(person.crop, person.sampling_points, seen_width)
    if not (person.sigma is None and person.silhouette is None and person.gates is None):
        yield "details", draw_details(
            person.crop, seen_width, person.keypoints_2d, person.sigma, float(person.camera[0]), person.silhouette,
            person.gates,
        )  # fmt: skip


_PNG_LEVEL = 1  # of compression: a quarter of the default's time, files 7 % larger
_NPZ_ONLY = ("vertices",)
_NOT_WRITTEN = ("image_index", "crop", "sampling_points", "silhouette", "gates", "focal_length", "principal_point")


def person_record(person: PersonPrediction) -> dict[str, Any]:
    """A prediction as docs/outputs.md describes it, with the pose also as axis-angle."""
    fields = {field.name: getattr(person, field.name) for field in dataclasses.fields(person)}
    record = {name: value for name, value in fields.items() if name not in _NOT_WRITTEN and value is not None}
    rotations = jnp.concatenate([person.global_orient, person.body_pose])
    record["pose_axis_angle"] = np.asarray(matrix_to_axis_angle(rotations))
    return record


def header(predictor: Predictor, path: Path, image: np.ndarray, intrinsics: np.ndarray | None = None) -> dict[str, Any]:
    """Fields of a result file other than the people; docs/outputs.md describes them."""
    size = image.shape[1], image.shape[0]
    focal_length, principal_point = camera_of(size, intrinsics, predictor.config.model.focal_length)
    return {
        "version": __version__,
        "checkpoint": predictor.checkpoint,
        "topology": predictor.body.topology,
        "axes": "opencv",
        "image": {"file": path.name, "width": size[0], "height": size[1]},
        "camera": {
            "focal_length": focal_length,
            "principal_point": principal_point,
            "source": "default" if intrinsics is None else "given",
        },
        "joint_names": SMPL_24,
        "keypoint_names": KEYPOINTS_44,
    }


def _unique_names(images: Sequence[Path]) -> list[str]:
    """Names of the results: the stem, with a number if several images share it."""
    names: dict[str, None] = {}
    for path in images:
        candidates = (path.stem if number == 1 else f"{path.stem}_{number}" for number in itertools.count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)
