"""Body models: loading, skinning, joint sets."""

from hmr_jax.body.coarse import CoarseMesh, load_coarse_mesh
from hmr_jax.body.default_body import mirror_vertices
from hmr_jax.body.finding import content_of, find_body, named_body, with_content
from hmr_jax.body.from_vertices import parameters_from_vertices
from hmr_jax.body.gendered import Bodies, true_body
from hmr_jax.body.loading import load_body_model
from hmr_jax.body.model import BodyModel
from hmr_jax.body.regressors import JointSet, joint_set_matrix, keypoint_matrix, keypoint_vertices
from hmr_jax.body.skinning import BodyOutput, skin

__all__ = [
    "Bodies",
    "BodyModel",
    "BodyOutput",
    "CoarseMesh",
    "JointSet",
    "content_of",
    "find_body",
    "joint_set_matrix",
    "keypoint_matrix",
    "keypoint_vertices",
    "load_body_model",
    "load_coarse_mesh",
    "mirror_vertices",
    "named_body",
    "parameters_from_vertices",
    "skin",
    "true_body",
    "with_content",
]
