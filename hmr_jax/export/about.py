"""What an exported network says of itself, as plain values for JSON."""

from collections.abc import Mapping
from typing import Any

import jax

from hmr_jax import __version__
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.config import to_dict
from hmr_jax.export.network import Network
from hmr_jax.models.encoders import finds_landmarks
from hmr_jax.ops.imagenet import IMAGENET_MEAN, IMAGENET_STD

VERSION = 1
"""Of the format; a reader refuses later ones."""
_CAMERA = "metres; x right, y down, z forward; without the translation in the camera"
UNITS = {
    "image": "RGB from 0 to 255, square crops of people",
    "pseudo_depth": "inverse depth of the crop from 0 (far or missing) to 255 (near)",
    "has_pseudo_depth": "1 where the crop has depth, else 0",
    "features": "map of the encoder",
    "landmarks": "of the encoder: x and y in crop coordinates from -0.5 to 0.5, z in the same unit, visibility and "
    "presence minus 0.5, position relative to the hips' middle in metres",
    "vertices": _CAMERA,
    "joints": _CAMERA,
    "keypoints_3d": _CAMERA,
    "keypoints_2d": "crop coordinates from -0.5 to 0.5",
    "global_orient": "rotation from the body's axes to the camera's",
    "body_pose": "rotations relative to the parent joint",
    "betas": "coefficients of the body's shape",
    "camera": "weak-perspective scale and shift along x and y, in the crop",
    "sigma": "predicted error of each keypoint in metres",
    "silhouette": "probability of the person, over what the encoder sees of the crop",
    "sampling_points": "where each layer's channel groups sample, in crop coordinates from -0.5 to 0.5",
    "gates": "shares of image, depth-attended image and depth in each block's fusion",
}
"""Of inputs and outputs, by name."""


def about(network: Network, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a program needs to run the network without this package.

    Args:
        network: which is exported.
        outputs: arrays or their shapes, by name, of a symbolic or any batch size.
    """
    config, body = network.config, network.body
    landmarks = finds_landmarks(config.model.encoder)
    return {
        "version": VERSION,
        "written_by": f"hmr_jax {__version__}, jax {jax.__version__}",
        "model": config.model.name,
        "checkpoint": network.checkpoint,
        "parameters_hash": network.parameters_hash,
        "crop_size": config.data.crop_size,
        "encoder_sees": list(config.model.encoder.image_size),
        "normalization": {
            "where": "in the network: give bytes",
            "mean": [0.0] * 3 if landmarks else IMAGENET_MEAN.tolist(),
            "std": [1.0] * 3 if landmarks else IMAGENET_STD.tolist(),
            "of": "colours divided by 255",
        },
        "inputs": describe_arrays(network.inputs("b")),
        "outputs": describe_arrays(outputs),
        "focal_length": {"pixels": config.model.focal_length, "of_a_crop_of": 256},
        "keypoint_names": list(KEYPOINTS_44),
        "joint_names": list(SMPL_24),
        "parents": list(body.parents),
        "topology": body.topology,
        "config": to_dict(config),
    }


def describe_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Shape, with "b" as the batch, type and unit of arrays by name."""
    return {
        name: {"shape": ["b", *map(int, array.shape[1:])], "dtype": str(array.dtype), "unit": UNITS[name]}
        for name, array in arrays.items()
    }
