"""A page of one file with bodies that mouse, touch and keyboard rotate; three.js, out of trimesh, is inside it.

Shapes: P bodies, V vertices, F faces, n colours.
"""

from collections.abc import Sequence

import numpy as np

from hmr_jax.rendering.export import AXES, body_mesh
from hmr_jax.rendering.shading import CLAY

_FIELD_OF_VIEW = 45.0  # degrees, vertical
_MARGIN = 1.05
_LIGHT = 0.6  # on the colours: the viewer has one strong light, which makes light ones white


def viewer_page(
    bodies: Sequence[np.ndarray],
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    follow_scheme: bool = False,
) -> str:
    """A document that shows bodies from the front, and that needs no network.

    Arrow keys rotate, plus and minus zoom, 0 goes back to the first view.

    Args:
        bodies: P arrays (V, 3) in camera axes (y down), metres, where they are to each other.
        faces: (F, 3) of each.
        colors: (n, 3) RGB in [0, 1] of the bodies; they repeat. None: clay.
        follow_scheme: whether the background is dark where the reader prefers dark pages.

    Returns:
        HTML.
    """
    import trimesh
    from trimesh.viewer.notebook import scene_to_html

    palette = _LIGHT * (np.array([CLAY]) if colors is None else np.asarray(colors))
    upright = [np.asarray(body, np.float64) @ AXES["opengl"].T for body in bodies]
    corners = np.concatenate(upright)
    middle = (corners.min(0) + corners.max(0)) / 2
    scene = trimesh.Scene([
        body_mesh(body - middle, faces, palette[number % len(palette)]) for number, body in enumerate(upright)
    ])  # fmt: skip
    width, height, depth = np.ptp(corners, 0)
    # So far that what is nearest fits into a window that is as wide as high.
    distance = _MARGIN * max(width, height) / 2 / np.tan(np.radians(_FIELD_OF_VIEW / 2)) + depth / 2
    scene.set_camera(angles=(0, 0, 0), distance=distance, center=(0, 0, 0), fov=(_FIELD_OF_VIEW, _FIELD_OF_VIEW))
    page = scene_to_html(scene)
    end = page.rindex("</body>")
    return f"{page[:end]}<script>{_KEYS}{_SCHEME if follow_scheme else ''}</script>{page[end:]}"


# `camera`, `controls`, `renderer`, `scene` and `render` are the page's own; the first two are there once it has loaded.
_KEYS = """
(() => {
  const canvas = renderer.domElement;
  canvas.tabIndex = 0;
  const style = document.head.appendChild(document.createElement("style"));
  style.textContent = "canvas:focus-visible { outline: 3px solid #3b6fd4; outline-offset: -3px; }";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Bodies. Arrow keys rotate them, plus and minus zoom, 0 resets the view.");
  const rotate = (axis, angle) => {
    const turn = new THREE.Quaternion().setFromAxisAngle(axis, angle);
    camera.position.sub(controls.target).applyQuaternion(turn).add(controls.target);
    camera.up.applyQuaternion(turn);
  };
  const zoom = (factor) => camera.position.sub(controls.target).multiplyScalar(factor).add(controls.target);
  const sideways = () => camera.up.clone().cross(camera.position.clone().sub(controls.target)).normalize();
  const around = (angle) => rotate(camera.up.clone().normalize(), angle);
  const over = (angle) => rotate(sideways(), angle);
  const actions = {
    ArrowLeft: () => around(0.15), ArrowRight: () => around(-0.15), ArrowUp: () => over(0.15),
    ArrowDown: () => over(-0.15), "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9),
    0: () => controls.reset(),
  };
  window.addEventListener("keydown", (event) => {
    if (!camera || !actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
    controls.update();
    render();
  });
})();
"""
_SCHEME = """
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    scene.background = new THREE.Color(dark.matches ? 0x1a1f29 : 0xffffff);
    if (camera) render();
  };
  dark.addEventListener("change", paint);
  paint();
})();
"""
