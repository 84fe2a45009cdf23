"""Predictions as files: JSON, npz and GLB. docs/outputs.md is the schema.

Shapes: P people, V vertices, F faces, n colours.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hmr_jax.io import atomic

if TYPE_CHECKING:
    import trimesh

SCHEMA = 1
"""Version of the JSON and npz layout; it increases when readers must change."""

Axes = Literal["opencv", "opengl", "blender"]
# Rotations from camera axes (x right, y down, z forward) to these.
AXES: dict[str, np.ndarray] = {
    "opencv": np.eye(3),
    "opengl": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),  # x right, y up, z towards the viewer; glTF's
    "blender": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),  # x right, y forward, z up
}


def contents(header: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `write_json` writes, as dictionaries, lists, numbers and text."""
    return plain({"schema": SCHEMA, **header, "people": list(people)})


def write_json(path: Path, header: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> None:
    """Writes {"schema": ..., **header, "people": [...]}; arrays become nested lists of numbers with 6 digits."""
    people_text = ",\n".join(_object(person) for person in people)
    text = _object({"schema": SCHEMA, **header})[:-2] + f',\n"people": [\n{people_text}\n]\n}}\n'
    atomic.write_text(path, text)


def write_npz(path: Path, header: Mapping[str, Any], people: Sequence[Mapping[str, Any]], **shared: np.ndarray) -> None:
    """Writes one array (P, ...) per field of the people, `shared` arrays, and `header`, a JSON string."""
    fields = {name: np.stack([person[name] for person in people]) for name in (people[0] if people else ())}
    text = np.array(json.dumps(plain({"schema": SCHEMA, **header}), allow_nan=False))
    atomic.write_npz(path, {"header": text, **shared, **fields})


def scene_glb(
    bodies: Sequence[np.ndarray],
    faces: np.ndarray,
    translations: np.ndarray,
    colors: np.ndarray,
    axes: Axes = "opengl",
) -> bytes:
    """A GLB file with one node per body, whose transform is the body's translation.

    Args:
        bodies: P arrays (V, 3), metres, camera axes, without translation.
        faces: (F, 3).
        translations: (P, 3) metres, camera axes.
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat.
        axes: of the file. glTF's own are "opengl" (Y up); Blender's importer converts them to its own.

    Raises:
        ValueError: there is no body: glTF has no empty scenes.
    """
    import trimesh

    if len(bodies) == 0:
        raise ValueError("There is no body to write: a GLB file needs at least one.")
    scene = trimesh.Scene()
    for i, (body, translation) in enumerate(zip(bodies, translations, strict=True)):
        mesh = body_mesh(body @ AXES[axes].T, faces, colors[i % len(colors)])
        transform = trimesh.transformations.translation_matrix(AXES[axes] @ translation)
        scene.add_geometry(mesh, node_name=f"person_{i}", geom_name=f"body_{i}", transform=transform)
    return scene.export(file_type="glb")


def write_mesh(
    path: Path, bodies: Sequence[np.ndarray], faces: np.ndarray, colors: np.ndarray, axes: Axes = "opengl"
) -> None:
    """Writes all bodies as one mesh with coloured vertices and normals, OBJ or PLY by the path's suffix.

    Args:
        path: of the file, .obj or .ply.
        bodies: P arrays (V, 3), metres, camera axes, at their translations.
        faces: (F, 3).
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat.
        axes: of the file.
    """
    import trimesh

    vertices = np.concatenate([body @ AXES[axes].T for body in bodies])
    all_faces = np.concatenate([faces + i * len(body) for i, body in enumerate(bodies)])
    rgb = np.concatenate([np.tile(colors[i % len(colors)], (len(body), 1)) for i, body in enumerate(bodies)])
    mesh = trimesh.Trimesh(vertices, all_faces, process=False, vertex_colors=(255 * rgb).astype(np.uint8))
    _ = mesh.vertex_normals  # computed when read, and exported only if they were
    data: Any = mesh.export(file_type=path.suffix[1:])
    with atomic.writing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def body_mesh(vertices: np.ndarray, faces: np.ndarray, color: np.ndarray) -> "trimesh.Trimesh":
    """A mesh with smooth normals and a matt colour, RGB in [0, 1]."""
    import trimesh

    rgba = [*(255 * np.asarray(color)).astype(int).tolist(), 255]
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=rgba, metallicFactor=0.0, roughnessFactor=0.8)
    visual = trimesh.visual.TextureVisuals(material=material)
    mesh = trimesh.Trimesh(vertices, faces, process=False, visual=visual)
    _ = mesh.vertex_normals  # computed when read, and exported only if they were
    return mesh


def _object(fields: Mapping[str, Any]) -> str:
    """A JSON object with one line per field, so that matrices do not spread over hundreds of lines."""
    lines = [f"{json.dumps(name)}: {json.dumps(plain(value), allow_nan=False)}" for name, value in fields.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def plain(value: Any) -> Any:
    """NumPy values as JSON's, floats with 6 significant digits."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return float(f"{value:.6g}") if isinstance(value, float) else value
