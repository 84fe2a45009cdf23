"""Write the compact npz that `hmr_jax.body.default_body` reads (the layout is described there)."""

import io
import zipfile
from pathlib import Path

import numpy as np

from hmr_jax.body.model import BodyModel

SMALLEST_CORRECTIVE = 1e-4  # metres per radian; blocks below are dropped


def pack(body: BodyModel, mirror: np.ndarray, path: Path) -> None:
    """Quantise a symmetric body and write it; equal bodies give equal files, byte for byte."""
    shapedirs, weights = np.asarray(body.shapedirs), np.asarray(body.skinning_weights)
    scale = np.abs(shapedirs).max((0, 1)) / 32767
    bones = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    shares = np.round(np.take_along_axis(weights, bones, 1) * 65535)
    blocks = np.asarray(body.posedirs).reshape(body.num_vertices, 3, -1, 9)
    vertex, joint = np.nonzero(np.abs(blocks).max((1, 3)) > SMALLEST_CORRECTIVE)
    arrays = {
        "vertices": np.round(np.asarray(body.v_template) * 1e5).astype(np.int32),
        "shape_modes": np.round(shapedirs / scale).astype(np.int16),
        "shape_scale": scale.astype(np.float32),
        "weight_joints": bones.astype(np.uint8),
        "weight_shares": shares.astype(np.uint16),
        "pose_vertices": vertex.astype(np.uint16),
        "pose_joints": joint.astype(np.uint8),
        "pose_blocks": blocks[vertex, :, joint].astype(np.float16),
        "faces": body.faces.astype(np.uint16),
        "parents": np.array(body.parents, np.int8),
        "landmarks": np.asarray(body.landmarks, np.uint16),
        "mirror": mirror.astype(np.uint16),
    }
    for name, matrix in {"joints": body.joint_regressor, **body.regressors}.items():
        row, column = np.nonzero(matrix)
        arrays |= {
            f"{name}_rows": row.astype(np.uint8),
            f"{name}_columns": column.astype(np.uint16),
            f"{name}_values": np.asarray(matrix)[row, column].astype(np.float32),
        }
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            # A fixed date: np.savez would write the time of day into the file.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)
