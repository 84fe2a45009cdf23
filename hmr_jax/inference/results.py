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
from hmr_jax.inference.origin import Origin
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.placing import bend, placed_for_drawing
from hmr_jax.inference.result_files import remove_results
from hmr_jax.rendering.details import draw_details
from hmr_jax.rendering.export import Axes, scene_glb, write_json, write_mesh, write_npz
from hmr_jax.rendering.overlay import PALETTE, three_views
from hmr_jax.rendering.page import Block, Body, Gallery, Table, write_report
from hmr_jax.rendering.plots import draw_sampling
from hmr_jax.rendering.turntable import write_turntable

Kind = Literal["json", "npz", "glb", "overlay", "details", "obj", "ply", "html", "turntable"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Of files: numbers, arrays with vertices, meshes, the image with the bodies, what else the network says, meshes for
other programs, a page with bodies that the mouse rotates, and an animated image of bodies that turn."""
DEFAULT_KINDS: tuple[Kind, ...] = KINDS[:5]
"""What is written if nothing else is asked for."""
_PNG_LEVEL = 1  # of compression: a quarter of the default's time, files 7 % larger
_NOT_WRITTEN = (
    "image_index", "crop", "sampling_points", "silhouette", "gates", "focal_length", "principal_point", "camera_source",
    "lens",
)  # fmt: skip


def parse_kinds(
    only: str, overlay: bool = True, known: Sequence[str] = KINDS, default: Sequence[str] = DEFAULT_KINDS
) -> tuple[str, ...]:
    """Kinds of files from "json,npz"; the default for "". Without overlay no image is drawn.

    Raises:
        ValueError: there is no such kind, or none is left.
    """
    wanted = [part.strip() for part in only.split(",")] if only else list(default)
    check_kinds(wanted, known)
    kinds = tuple(kind for kind in known if kind in wanted and (overlay or kind not in ("overlay", "details")))
    if not kinds:
        raise ValueError(f"--only {only} with --no-overlay leaves nothing to write: leave one of them out.")
    return kinds


def check_kinds(kinds: Collection[str], known: Sequence[str] = KINDS) -> None:
    """Raises ValueError if one of the kinds of results is not known."""
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ValueError(f"'{unknown[0]}' is no kind of result; give some of {','.join(known)}.")


def write_results(
    origin: Origin,
    people: Sequence[PersonPrediction],
    photo: Photo,
    output: Path,
    name: str,
    axes: Axes = "opengl",
    kinds: Collection[Kind] = DEFAULT_KINDS,
    request: str | None = None,
) -> list[Path]:
    """Writes the files of one image, first to a temporary folder and then to the output folder.

    Args:
        origin: the network.
        people: its predictions.
        photo: the image.
        output: folder of the results.
        name: of the files, without suffix.
        axes: of the meshes.
        kinds: of files that are written; earlier ones of other kinds are removed.
        request: as for `header`.

    Returns:
        The files written.
    """
    about = header(origin, photo, request)
    records = [person_record(person) for person in people] if {"json", "npz"} & set(kinds) else []
    overlay = draw_overlay(origin, people, photo) if {"overlay", "html"} & set(kinds) else None
    with tempfile.TemporaryDirectory(dir=output, prefix=".part-") as folder:
        part = Path(folder)
        if "json" in kinds:
            write_json(part / f"{name}.json", about, [without_mesh(record) for record in records])
        if "npz" in kinds:
            write_npz(part / f"{name}.npz", about, records, faces=origin.faces)
        if "glb" in kinds and people:
            bodies, translations = [p.vertices for p in people], np.stack([p.translation for p in people])
            (part / f"{name}.glb").write_bytes(scene_glb(bodies, origin.faces, translations, PALETTE, axes))
        for kind in ("obj", "ply"):
            if kind in kinds and people:
                placed = [person.vertices + person.translation for person in people]
                write_mesh(part / f"{name}.{kind}", placed, origin.faces, PALETTE, axes)
        if "turntable" in kinds and people:
            write_turntable(part / f"{name}_turntable.webp", [p.vertices + p.translation for p in people], origin.faces)
        if "html" in kinds and overlay is not None:
            write_page(part / f"{name}.html", origin, [(photo, people, overlay)])
        panels = [("overlay", overlay)] if "overlay" in kinds and overlay is not None else []
        if "details" in kinds:
            panels += _details(origin, people)
        for ending, panel in panels:
            Image.fromarray(panel).save(part / f"{name}_{ending}.png", compress_level=_PNG_LEVEL)
        remove_results(output, name, keep={file.name for file in part.iterdir()})
        # Numbers last: where they are, everything is, if the writing was interrupted.
        files = sorted(part.iterdir(), key=lambda file: (file.suffix in (".npz", ".json"), file.name))
        return [file.replace(output / file.name) for file in files]


def _details(origin: Origin, people: Sequence[PersonPrediction]) -> Iterator[tuple[str, np.ndarray]]:
    """Visualizations of what else the network says of each person, by the ending of their names."""
    for number, person in enumerate(people):
        suffix = f"_{number}" if len(people) > 1 else ""
        for kind, panel in _detail_images(person, origin.seen_width):
            yield f"{kind}{suffix}", panel


def draw_overlay(origin: Origin, people: Sequence[PersonPrediction], photo: Photo) -> np.ndarray:
    """The image with the bodies, and views from the side and from above."""
    points, seen, translations = (
        np.array([getattr(one, name) for one in people]) for name in ("keypoints_3d", "keypoints_image", "translation")
    )
    focal = None if all(person.moved is not None for person in people) else origin.focal_length
    translations, matrix = placed_for_drawing(points, seen, translations, photo.camera, photo.size, focal)
    placed = list(zip(people, translations, strict=True))
    lens = photo.camera.lens
    vertices = [bend(person.vertices + translation, lens) for person, translation in placed]
    errors = [
        (bend(one.keypoints_3d + translation, lens), one.sigma) for one, translation in placed if one.sigma is not None
    ]
    return three_views(photo.image, vertices, origin.faces, matrix, errors=errors)


def write_page(
    path: Path, origin: Origin, shown: Sequence[tuple[Photo, Sequence[PersonPrediction], np.ndarray]]
) -> Path:
    """Writes a page of one file: overlays, tables of the people, and each body, which the mouse rotates.

    Args:
        path: of the page.
        origin: the network.
        shown: images, their people and their overlays.
    """
    blocks: list[Block] = []
    several = len(shown) > 1
    for photo, people, overlay in shown:
        title, of = (photo.path.name, f" of {photo.path.name}") if several else ("", "")
        blocks.append(Gallery(title, [("in the image, from the side, from above", overlay)], wide=True))
        if people:
            note = f"Boxes in px; position: right, down and forward of the camera ({_focal(photo)})."
            blocks.append(Table(f"People{of}", _COLUMNS, [_row(*each) for each in enumerate(people)], note))
        for number, one in enumerate(people):
            blocks.append(Body(f"Person {number}{of}", one.vertices, origin.faces))
    count = sum(len(people) for _, people, _ in shown)
    found = f"{count} {'person' if count == 1 else 'people'}"
    title = f"{len(shown)} images" if len(shown) != 1 else shown[0][0].path.name
    parts = [found, *([_focal(shown[0][0])] if len(shown) == 1 else []), f"checkpoint {origin.checkpoint['name']}"]
    return write_report(path, title, blocks, "; ".join(parts) + ".", f"hmr_jax {__version__}")


def _focal(photo: Photo) -> str:
    return f"focal length {photo.camera.focal_length[0]:.0f} px ({photo.camera.source})"


_COLUMNS = ("person", "left", "top", "right", "bottom", "x, cm", "y, cm", "z, cm")


def _row(number: int, person: PersonPrediction) -> tuple[int | float, ...]:
    """Of a table with `_COLUMNS`."""
    return (number, *np.rint(person.box).astype(int).tolist(), *map(float, 100 * person.translation))


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


def without_mesh(record: Mapping[str, Any]) -> dict[str, Any]:
    """A person's record as JSON has it: the npz and mesh files have the vertices."""
    return {name: value for name, value in record.items() if name != "vertices"}


def header(origin: Origin, photo: Photo, request: str | None = None) -> dict[str, Any]:
    """Fields of a result file other than the people; docs/outputs.md describes them.

    Args:
        origin: the network.
        photo: the image.
        request: what the results are of, by `hmr_jax.inference.earlier`, or None.
    """
    width, height = photo.size
    return {
        "version": __version__,
        "checkpoint": origin.checkpoint,
        "topology": origin.topology,
        "axes": "opencv",
        "image": {"file": photo.path.name, "width": width, "height": height},
        "camera": photo.camera.describe(),
        "joint_names": SMPL_24,
        "keypoint_names": KEYPOINTS_44,
    } | ({} if request is None else {"request": request})
