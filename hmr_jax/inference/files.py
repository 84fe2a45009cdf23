"""From image files to prediction files; docs/outputs.md describes them."""

import dataclasses
import sys
import tempfile
import unicodedata
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
from hmr_jax.geometry.boxes import as_boxes, check_box
from hmr_jax.geometry.cameras import NOMINAL_CROP, camera_of, intrinsics_of_each
from hmr_jax.inference import PersonPrediction, Predictor
from hmr_jax.inference.result_files import check_no_image_is_a_result, is_too_long, remove_results, result_names
from hmr_jax.io.images import read_image
from hmr_jax.io.json_files import load_json
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
    table = load_json(Path(text))
    if isinstance(table, list) and len(images) == 1:
        table = {images[0].name: table}
    if not isinstance(table, dict):
        raise ValueError(f"{text} must hold {{file name: [[x0, y0, x1, y1], ...]}}.")
    names = _names_in(table, images, text)
    if missing := [path.name for path, name in zip(images, names, strict=True) if name is None]:
        raise ValueError(f"{text} has no boxes for {', '.join(missing[:5])}; an empty list says that nobody is there.")
    return [
        as_boxes(table[name], f"{text}: the boxes of {path.name}") for path, name in zip(images, names, strict=True)
    ]


def _names_in(table: Mapping[str, Any], images: Sequence[Path], source: str) -> list[str | None]:
    """The name of each image in a table: as much of the end of its path as it states, or its absolute path."""
    by_parts: dict[tuple[str, ...], str] = {}
    for name in table:
        other = by_parts.setdefault(_parts(Path(name)), name)
        if other != name:
            raise ValueError(f"{source}: '{other}' and '{name}' are the same file.")
    names: list[str | None] = []
    for path in images:
        parts = _parts(path.absolute())
        names.append(next((by_parts[end] for i in range(len(parts)) if (end := parts[i:]) in by_parts), None))
    users: dict[str, Path] = {}
    for path, used in zip(images, names, strict=True):
        if used is not None and (other_path := users.setdefault(used, path)) != path:
            raise ValueError(f"{source}: '{used}' could be {other_path} or {path}; state the folder, too.")
    return names


def _parts(path: Path) -> tuple[str, ...]:
    """Of a path, with its accents composed: file systems and editors write them in two ways."""
    return Path(unicodedata.normalize("NFC", str(path))).parts


def _parse_number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise ValueError(f"'{part.strip()}' in '{text}' is not a number.") from None


def parse_intrinsics(text: str) -> np.ndarray | None:
    """ "fx,fy,cx,cy" -> (4,) px; "" -> None; raises ValueError for anything else."""
    numbers = [_parse_number(part, text) for part in text.split(",")] if text else []
    if len(numbers) not in (0, 4):
        raise ValueError(f"--intrinsics {text}: give four numbers, fx,fy,cx,cy, in pixels.")
    return np.array(numbers) if numbers else None


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

    Earlier results of these images in the folder are replaced or removed: what is there afterwards is of this call.

    Args:
        predictor: the network.
        images: files.
        output: folder of the results; created if needed.
        boxes: (n, 4) per image; None: the predictor finds the people, with a warning where there are none. "whole":
            the whole image is one person's box.
        intrinsics: of all images, or of each, as for `Predictor`.
        axes: of the GLB file.
        depth: of the images, for a network that takes it; images without a map are predicted with a warning.

    Yields:
        The files written.

    Raises:
        ValueError: at the end, if images, boxes, intrinsics or depth maps could not be used; the message names them,
            and the other images are done. At once, if depth is given to a network that takes none, or one map to
            several images, or if results would overwrite images.
    """
    predictor.check_takes_depth(depth is not None)
    if isinstance(depth, DiskDepth):
        depth.check_images(images)
    if not (boxes is None or isinstance(boxes, str) or len(boxes) == len(images)):
        raise ValueError(f"{len(images)} images but boxes for {len(boxes)}: give one array of boxes per image.")
    cameras = intrinsics_of_each(intrinsics, len(images))
    names = result_names(images)
    check_no_image_is_a_result(images, names, output)
    output.mkdir(parents=True, exist_ok=True)
    problems = []
    bar = tqdm(total=len(images), unit="image", disable=not sys.stderr.isatty() or len(images) == 1)
    for start in range(0, len(images), CHUNK):
        loaded: dict[int, np.ndarray] = {}
        chunk = range(start, min(start + CHUNK, len(images)))
        for i in chunk:
            own_boxes = boxes if boxes is None or isinstance(boxes, str) else boxes[i]
            try:
                loaded[i] = _load(images[i], own_boxes, cameras[i], names[i])
            except (ValueError, FileNotFoundError) as error:
                problems.append(str(error))
                bar.update()
        maps = None if depth is None else _depth_maps(depth, loaded, images, problems)
        loaded_boxes = _loaded_boxes(predictor, boxes, loaded, images)
        people = predictor(list(loaded.values()), loaded_boxes, [cameras[i] for i in loaded], depth=maps)
        for index, (i, image) in enumerate(loaded.items()):
            own = [person for person in people if person.image_index == index]
            about = header(predictor, images[i], image, cameras[i])
            yield from write_results(predictor, own, image, about, output, names[i], axes)
            bar.update()
        for i in chunk:
            if i not in loaded:
                remove_results(output, names[i])
    bar.close()
    if problems:
        rest = f" ({len(problems)} of {len(images)} images were left out)" if len(images) > 1 else ""
        raise ValueError("\n".join(problems) + rest)


def _load(path: Path, boxes: Any, intrinsics: Any, name: str) -> np.ndarray:
    """Reads an image; raises ValueError or FileNotFoundError if it, its boxes or its intrinsics cannot be used."""
    if is_too_long(name):
        raise ValueError(f"{path}: the name is too long for those of the results; shorten it.")
    image = read_image(path)
    size = image.shape[1], image.shape[0]
    if boxes is None:
        boxes = []
    elif isinstance(boxes, str):
        boxes = [0, 0, *size]
    for number, box in enumerate(as_boxes(boxes, f"The boxes of {path.name}")):
        check_box(box, size, f"Box {number} of {path.name}")
    camera_of(size, intrinsics, NOMINAL_CROP)
    return image


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
        remove_results(output, name, keep={file.name for file in part.iterdir()})
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
