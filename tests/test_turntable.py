"""Bodies that turn: every side is shown once, and all of the bodies is inside the image."""

import numpy as np
import pytest
from PIL import Image

from hmr_jax.body import load_body_model
from hmr_jax.rendering.overlay import PANEL
from hmr_jax.rendering.turntable import FRAMES, draw_turntable, write_turntable


@pytest.fixture(scope="module")
def body():
    model = load_body_model()
    return np.asarray(model.v_template) * [1, -1, -1] + [0.3, 0.2, 4], model.faces  # y down, towards the camera


def shown(image):
    return (np.abs(image.astype(int) - PANEL) > 8).any(-1)


def test_bodies_turn_once_inside_the_image(body):
    vertices, faces = body
    views = draw_turntable([vertices, vertices + np.array([0.9, 0, 0.5])], faces, frames=8, side=160)
    assert len(views) == 8
    for view in views:
        inside = shown(view)
        assert inside.any()
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()
    # From behind, after half a turn, the outline is that of the front mirrored.
    front, back = shown(views[0]), shown(views[4])[:, ::-1]
    assert (front != back).mean() < 0.02
    assert (front != shown(views[2])).mean() > 0.05


def test_the_camera_goes_to_the_right_first(body):
    """So what stands behind appears to the right of what stands before it."""
    vertices, faces = body
    red_behind = np.array([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1]])
    view = draw_turntable([vertices, vertices + np.array([0, 0, 1.5])], faces, frames=8, side=160, colors=red_behind)[1]
    view = view.astype(int)
    near, far = view[..., 2] > view[..., 0] + 60, view[..., 0] > view[..., 2] + 60
    assert np.nonzero(far)[1].mean() > np.nonzero(near)[1].mean() + 5


def test_the_file_is_an_animation_that_repeats(body, tmp_path):
    vertices, faces = body
    write_turntable(tmp_path / "a_turntable.webp", [vertices], faces)
    with Image.open(tmp_path / "a_turntable.webp") as image:
        assert (image.n_frames, image.info["loop"]) == (FRAMES, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a_turntable.webp"]
