"""The results of an image as files; docs/outputs.md describes them."""

import dataclasses
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from PIL import Image

from hmr_jax import __version__
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.geometry import matrix_to_axis_angle
from hmr_jax.geometry.intrinsics import UNCERTAINTY, ImageCamera
from hmr_jax.inference import PersonPrediction, Predictor
from hmr_jax.inference.placing import placed_for_drawing
from hmr_jax.inference.result_files import remove_results
from hmr_jax.rendering.details import draw_details
from hmr_jax.rendering.export import Axes, write_glb, write_json, write_mesh, write_npz
from hmr_jax.rendering.overlay import PALETTE, three_views
from hmr_jax.rendering.page import Block, Body, Gallery, Table, write_report
from hmr_jax.rendering.plots import draw_sampling

Kind = Literal["json", "npz", "glb", "overlay", "details", "obj", "ply", "html"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Of files: numbers, arrays with vertices, meshes, the image with the bodies, what else the network says, meshes for
other programs, and a page with bodies that the mouse rotates."""
DEFAULT_KINDS: tuple[Kind, ...] = KINDS[:5]
"""What is written if nothing else is asked for."""
_PNG_LEVEL = 1  # of compression: a quarter of the default's time, files 7 % larger
_NPZ_ONLY = ("vertices",)
_NOT_WRITTEN = (
    "image_index", "crop", "sampling_points", "silhouette", "gates", "focal_length", "principal_point", "camera_source",
)  # fmt: skip


def parse_kinds(only: str, overlay: bool = True) -> tuple[Kind, ...]:
    """Kinds of files from "json,npz"; `DEFAULT_KINDS` for "". Without overlay no image is drawn.

    Raises:
        ValueError: there is no such kind, or none is left.
    """
    wanted = [part.strip() for part in only.split(",")] if only else list(DEFAULT_KINDS)
    if unknown := [part for part in wanted if part not in KINDS]:
        raise ValueError(f"--only {only}: '{unknown[0]}' is no kind of result; give some of {','.join(KINDS)}.")
    kinds = tuple(kind for kind in KINDS if kind in wanted and (overlay or kind not in ("overlay", "details")))
    if not kinds:
        raise ValueError(f"--only {only} with --no-overlay leaves nothing to write: leave one of them out.")
    return kinds


def write_results(
    predictor: Predictor,
    people: Sequence[PersonPrediction],
    image: np.ndarray,
    about: Mapping[str, Any],
    output: Path,
    name: str,
    axes: Axes = "opengl",
    kinds: Collection[Kind] = DEFAULT_KINDS,
) -> list[Path]:
    """Writes the files of one image, first to a temporary folder and then to the output folder.

    Args:
        predictor: the network.
        people: its predictions.
        image: (H, W, 3) uint8.
        about: from `header`.
        output: folder of the results.
        name: of the files, without suffix.
        axes: of the meshes.
        kinds: of files that are written; earlier ones of other kinds are removed.

    Returns:
        The files written.
    """
    records = [person_record(person) for person in people] if {"json", "npz"} & set(kinds) else []
    overlay = draw_overlay(predictor, people, image, about["camera"]) if {"overlay", "html"} & set(kinds) else None
    with tempfile.TemporaryDirectory(dir=output, prefix=".part-") as folder:
        part = Path(folder)
        if "json" in kinds:
            compact = [{key: value for key, value in record.items() if key not in _NPZ_ONLY} for record in records]
            write_json(part / f"{name}.json", about, compact)
        if "npz" in kinds:
            write_npz(part / f"{name}.npz", about, records, faces=predictor.body.faces)
        if "glb" in kinds and people:
            bodies, translations = [p.vertices for p in people], np.stack([p.translation for p in people])
            write_glb(part / f"{name}.glb", bodies, predictor.body.faces, translations, PALETTE, axes)
        for kind in ("obj", "ply"):
            if kind in kinds and people:
                placed = [person.vertices + person.translation for person in people]
                write_mesh(part / f"{name}.{kind}", placed, predictor.body.faces, PALETTE, axes)
        if "html" in kinds and overlay is not None:
            write_page(part / f"{name}.html", predictor, people, overlay, about)
        panels = [("overlay", overlay)] if "overlay" in kinds and overlay is not None else []
        if "details" in kinds:
            panels += _details(predictor, people)
        for ending, panel in panels:
            Image.fromarray(panel).save(part / f"{name}_{ending}.png", compress_level=_PNG_LEVEL)
        remove_results(output, name, keep={file.name for file in part.iterdir()})
        # Numbers last: where they are, everything is, if the writing was interrupted.
        files = sorted(part.iterdir(), key=lambda file: (file.suffix in (".npz", ".json"), file.name))
        return [file.replace(output / file.name) for file in files]


def _details(predictor: Predictor, people: Sequence[PersonPrediction]) -> Iterator[tuple[str, np.ndarray]]:
    """Visualizations of what else the network says of each person, by the ending of their names."""
    height, width = predictor.config.model.encoder.image_size
    for number, person in enumerate(people):
        suffix = f"_{number}" if len(people) > 1 else ""
        for kind, panel in _detail_images(person, width / height):
            yield f"{kind}{suffix}", panel


def draw_overlay(
    predictor: Predictor, people: Sequence[PersonPrediction], image: np.ndarray, camera: Mapping[str, Any]
) -> np.ndarray:
    """The image with the bodies, and views from the side and from above.

    Args:
        predictor: the network.
        people: its predictions.
        image: (H, W, 3) uint8.
        camera: that of `header`.
    """
    own = ImageCamera(camera["focal_length"], camera["principal_point"], camera["source"])
    size, focal = (image.shape[1], image.shape[0]), predictor.config.model.focal_length
    points, seen, translations = (
        np.array([getattr(one, name) for one in people]) for name in ("keypoints_3d", "keypoints_image", "translation")
    )
    translations, matrix = placed_for_drawing(points, seen, translations, own, size, focal)
    placed = list(zip(people, translations, strict=True))
    vertices = [person.vertices + translation for person, translation in placed]
    errors = [(one.keypoints_3d + translation, one.sigma) for one, translation in placed if one.sigma is not None]
    return three_views(image, vertices, predictor.body.faces, matrix, errors=errors)


def write_page(
    path: Path,
    predictor: Predictor,
    people: Sequence[PersonPrediction],
    overlay: np.ndarray,
    about: Mapping[str, Any],
) -> None:
    """Writes a page of one file: the overlay, a table of the people, and each body, which the mouse rotates."""
    camera, count = about["camera"], len(people)
    rows = [
        (number, *np.rint(person.box).astype(int).tolist(), *map(float, 100 * person.translation))
        for number, person in enumerate(people)
    ]
    header = ("person", "left", "top", "right", "bottom", "x, cm", "y, cm", "z, cm")
    focal = f"focal length {camera['focal_length'][0]:.0f} px ({camera['source']})"
    blocks: list[Block] = [Gallery("", [("in the image, from the side, from above", overlay)], wide=True)]
    if people:
        blocks.append(Table("People", header, rows, "Boxes in px; position: right, down and forward of the camera."))
    blocks += [Body(f"Person {number}", one.vertices, predictor.body.faces) for number, one in enumerate(people)]
    summary = f"{count} {'person' if count == 1 else 'people'}; {focal}; checkpoint {about['checkpoint']['name']}."
    write_report(path, about["image"]["file"], blocks, summary, f"hmr_jax {about['version']}")


def _detail_images(person: PersonPrediction, seen_width: float) -> Iterator[tuple[str, np.ndarray]]:
    """Visualizations of the network's other outputs, by kind."""
    if person.sampling_points is not None:
        yield "sampling", draw_sampling(person.crop, person.sampling_points, seen_width)
    if not (person.sigma is None and person.silhouette is None and person.gates is None):
        yield "details", draw_details(
            person.crop, seen_width, person.keypoints_2d, person.sigma, float(person.camera[0]), person.silhouette,
            person.gates,
        )  # fmt: skip


def person_record(person: PersonPrediction) -> dict[str, Any]:
    """A prediction as docs/outputs.md describes it, with the pose also as axis-angle."""
    fields = {field.name: getattr(person, field.name) for field in dataclasses.fields(person)}
    record = {name: value for name, value in fields.items() if name not in _NOT_WRITTEN and value is not None}
    rotations = jnp.concatenate([person.global_orient, person.body_pose])
    record["pose_axis_angle"] = np.asarray(matrix_to_axis_angle(rotations))
    return record


def header(
    predictor: Predictor, path: Path, image: np.ndarray, camera: ImageCamera, request: str | None = None
) -> dict[str, Any]:
    """Fields of a result file other than the people; docs/outputs.md describes them.

    Args:
        predictor: the network.
        path: of the image.
        image: (H, W, 3) uint8.
        camera: of the image.
        request: what the results are of, by `hmr_jax.inference.earlier`, or None.
    """
    return {
        "version": __version__,
        "checkpoint": predictor.checkpoint,
        "topology": predictor.body.topology,
        "axes": "opencv",
        "image": {"file": path.name, "width": image.shape[1], "height": image.shape[0]},
        "camera": {
            "focal_length": camera.focal_length,
            "principal_point": camera.principal_point,
            "source": camera.source,
            "relative_uncertainty": UNCERTAINTY[camera.source],
        },
        "joint_names": SMPL_24,
        "keypoint_names": KEYPOINTS_44,
    } | ({} if request is None else {"request": request})
