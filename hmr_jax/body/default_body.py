"""Read the built-in body: unpack assets/default_body.npz, about 1 MB, to a dense `BodyModel`.

The file holds only plain arrays: `vertices` in 10 micrometres; `shape_modes` times `shape_scale`; per vertex four
`weight_joints` and their `weight_shares` (normalised on reading); `pose_blocks`, the (3, 9) blocks of the pose
blendshapes that are not zero, for `pose_vertices` and `pose_joints` (counted from joint 1); each regressor as
`*_rows`, `*_columns`, `*_values`; `mirror`, the index of each vertex's mirror image. It is written by
tools/build_default_body.py; its topology is "hmr-default".

Shapes: V vertices.
"""

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from hmr_jax.body.model import Array, BodyModel
from hmr_jax.io.research_files import read_contents

TOPOLOGY = "hmr-default"
_ASSET = Path(str(resources.files("hmr_jax"))) / "assets" / "default_body.npz"


@cache
def load_default_body() -> BodyModel:
    """The built-in body. It is read once: callers share its arrays and must not change them."""
    packed = read_contents(_ASSET)
    vertices = packed["vertices"].astype(np.float32) * np.float32(1e-5)
    num_vertices, num_joints = len(vertices), len(packed["parents"])
    shares = packed["weight_shares"].astype(np.float32)
    weights = np.zeros((num_vertices, num_joints), np.float32)
    np.put_along_axis(weights, packed["weight_joints"].astype(np.intp), shares / shares.sum(1, keepdims=True), axis=1)
    posedirs = np.zeros((num_vertices, 3, num_joints - 1, 9), np.float32)
    posedirs[packed["pose_vertices"], :, packed["pose_joints"]] = packed["pose_blocks"]
    dense: dict[str, Array] = {name: _dense(packed, name, num_vertices) for name in ("joints", "j19", "h36m")}
    return BodyModel(
        v_template=vertices,
        shapedirs=packed["shape_modes"] * packed["shape_scale"],
        posedirs=posedirs.reshape(num_vertices, 3, -1),
        joint_regressor=dense.pop("joints"),
        skinning_weights=weights,
        parents=tuple(packed["parents"].tolist()),
        faces=packed["faces"].astype(np.int32),
        topology=TOPOLOGY,
        landmarks=packed["landmarks"].astype(np.int32),
        regressors=dense,
    )


def mirror_vertices() -> np.ndarray:
    """(V,) index of each built-in vertex's mirror image across x = 0; vertices on the seam are their own."""
    return read_contents(_ASSET)["mirror"].astype(np.int32)


def _dense(packed: dict[str, np.ndarray], name: str, num_vertices: int) -> np.ndarray:
    rows = packed[f"{name}_rows"]
    matrix = np.zeros((rows.max() + 1, num_vertices), np.float32)
    matrix[rows, packed[f"{name}_columns"]] = packed[f"{name}_values"]
    return matrix
