"""Files of predictions: what is written can be read, and lies where the axes say."""

import json

import numpy as np
import pytest
import trimesh

from hmr_jax.rendering.export import AXES, scene_glb, write_json, write_npz
from hmr_jax.rendering.overlay import PALETTE

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
PEOPLE = [{"betas": np.float32([0.1, 0.25]), "box_size": 10.5}, {"betas": np.float32([1, 2]), "box_size": 20.0}]


def test_json_reads_back_with_one_line_per_field(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"topology": "hmr-default", "names": ("a", "b")}, PEOPLE)
    document = json.loads(path.read_text())
    assert document == {
        "schema": 1,
        "topology": "hmr-default",
        "names": ["a", "b"],
        "people": [{"betas": [0.1, 0.25], "box_size": 10.5}, {"betas": [1.0, 2.0], "box_size": 20.0}],
    }
    assert len(path.read_text().splitlines()) < 16


def test_json_without_people(tmp_path):
    write_json(tmp_path / "a.json", {}, [])
    assert json.loads((tmp_path / "a.json").read_text()) == {"schema": 1, "people": []}


def test_npz_stacks_people_and_needs_no_pickle(tmp_path):
    write_npz(tmp_path / "a.npz", {"topology": "smpl"}, PEOPLE, faces=FACES)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert json.loads(str(file["header"])) == {"schema": 1, "topology": "smpl"}
        np.testing.assert_allclose(file["betas"], [[0.1, 0.25], [1, 2]])
        np.testing.assert_array_equal(file["faces"], FACES)


def test_numbers_that_json_cannot_hold_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {}, [{"betas": np.array([np.nan])}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("axes", ["opencv", "opengl", "blender"])
def test_glb_places_each_body_in_the_axes_asked_for(tmp_path, axes):
    places = np.array([[0.0, 0, 5], [1, 2, 6]])
    (tmp_path / "a.glb").write_bytes(scene_glb([TETRAHEDRON, TETRAHEDRON], FACES, places, PALETTE, axes))
    scene = trimesh.load_scene(tmp_path / "a.glb")
    bodies = sorted(scene.dump(), key=lambda mesh: mesh.metadata["name"])
    assert len(bodies) == 2
    for body, place in zip(bodies, places, strict=True):
        np.testing.assert_allclose(body.vertices, (TETRAHEDRON + place) @ AXES[axes].T, atol=1e-6)
        assert body.volume > 0  # no axes turn the body inside out


@pytest.mark.parametrize(
    ("axes", "up", "away"),
    [("opencv", (0, -1, 0), (0, 0, 1)), ("opengl", (0, 1, 0), (0, 0, -1)), ("blender", (0, 0, 1), (0, 1, 0))],
)
def test_axes_are_what_their_names_promise(axes, up, away):
    np.testing.assert_array_equal(AXES[axes] @ [0, -1, 0], up)
    np.testing.assert_array_equal(AXES[axes] @ [0, 0, 1], away)
    np.testing.assert_allclose(np.linalg.det(AXES[axes]), 1)


def test_an_empty_scene_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no body"):
        scene_glb([], FACES, np.zeros((0, 3)), PALETTE)
