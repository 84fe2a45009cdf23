"""The bodies that a protocol needs, and the true body of a batch.

SMPL and its regressors are the user's files: a folder as `python -m hmr_jax.body.prepare FILES --out DIR` writes it,
named by an option or by the variable HMR_JAX_BODIES. The built-in body brings regressors of its own.

Shapes: B batch, V vertices, S betas.
"""

import dataclasses
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hmr_jax.body import BodyModel, BodyOutput, load_body_model, skin
from hmr_jax.body.skinning import check_parameters, pose_joints, rest_joints, skin_vertices
from hmr_jax.body.smpl_files import REGRESSOR_FILES
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.io.research_files import read_contents
from hmr_jax.protocols.protocol import Protocol

GENDERS = ("neutral", "male", "female")
"""What the numbers 0, 1, 2 of the batch's "gender" mean."""
VARIABLE = "HMR_JAX_BODIES"
_SOURCE = {"h36m": "SPIN's data archive", "j19": "HMR2.0's (4D-Humans) data archive"}


@struct.dataclass
class Bodies:
    """Bodies of one topology; a pytree, so that jitted functions take them as an argument."""

    neutral: BodyModel
    """Of the prediction; its regressors serve both sides."""
    gendered: tuple[BodyModel, BodyModel] | None = None
    """Male and female; None: the truth is neutral."""

    def on(self, mesh: Mesh) -> "Bodies":
        """The same bodies, whole on each device of the mesh."""
        return jax.device_put(self, NamedSharding(mesh, PartitionSpec()))


def load_bodies(protocol: Protocol, neutral: BodyModel, folder: str | Path | None = None) -> Bodies:
    """The bodies that a protocol needs beside the prediction's own.

    Args:
        protocol: says what is needed.
        neutral: the body of the prediction.
        folder: where SMPL_MALE, SMPL_FEMALE (.npz or .pkl) and regressors are; None: HMR_JAX_BODIES, if set.

    Raises:
        FileNotFoundError: a file is missing; the message says which and where it comes from.
        ValueError: a file belongs to another topology.
    """
    folder = folder or os.environ.get(VARIABLE)
    directory = None if folder is None else Path(folder).expanduser()
    if directory is not None and not directory.is_dir():
        raise FileNotFoundError(f"There is no folder {directory} with body models.")
    neutral = _with_regressor(protocol, neutral, directory)
    if protocol.gender == "neutral" or protocol.truth != "body":
        return Bodies(neutral)
    male, female = (_gendered(protocol, neutral, directory, gender) for gender in GENDERS[1:])
    return Bodies(neutral, (male, female))


def true_body(bodies: Bodies, pose: jax.Array, betas: jax.Array, gender: jax.Array | None) -> BodyOutput:
    """The labelled bodies of a batch, each with the model of its gender; to be jitted.

    Args:
        bodies: see `load_bodies`; an argument of the jitted function too: constants of this size are slow to compile.
        pose: (B, 24, 3) axis-angle.
        betas: (B, S).
        gender: (B,) int, see `GENDERS`; read where `bodies.gendered` is there.

    Returns:
        (B, V, 3) vertices and (B, 24, 3) joints, metres, camera axes.
    """
    rotations = axis_angle_to_matrix(pose)
    if bodies.gendered is None:
        return skin(bodies.neutral, betas, rotations)
    if gender is None:
        raise ValueError("The protocol's truth is gendered, but the batch has no 'gender'.")
    every = (bodies.neutral, *bodies.gendered)
    for body in every:
        check_parameters(body, betas, rotations)
    mine = [(gender == number)[:, None, None] for number in range(len(every))]
    rest = rest_joints(bodies.neutral, betas)
    for here, body in zip(mine[1:], every[1:], strict=True):
        rest = jnp.where(here, rest_joints(body, betas), rest)
    joints, transforms = pose_joints(bodies.neutral.parents, rest, rotations)
    meshes = [partial(skin_vertices, body, betas, rotations, transforms) for body in every]

    def mixed() -> jax.Array:
        shape = len(betas), bodies.neutral.num_vertices, 3
        total = jax.lax.cond(mine[0].any(), meshes[0], lambda: jnp.zeros(shape, betas.dtype))
        for here, mesh in zip(mine[1:], meshes[1:], strict=True):
            total = jnp.where(here, mesh(), total)
        return total

    # A sequence shows one person, so most batches hold one gender: the others' meshes need not be posed.
    chosen = jnp.where((gender == gender[0]).all(), gender[0], len(every))
    return BodyOutput(jax.lax.switch(chosen, [*meshes, mixed]), joints)


def _with_regressor(protocol: Protocol, body: BodyModel, directory: Path | None) -> BodyModel:
    """The body with the regressor that the protocol reads."""
    name = protocol.regressor
    if protocol.space == "2d" or name in ("kinematic", "body") or name in body.regressors:
        return body
    stem, rows = REGRESSOR_FILES[name]
    files = [] if directory is None else [directory / f"{stem}{suffix}" for suffix in (".npy", ".pkl")]
    for file in files:
        if file.is_file():
            matrix = np.asarray(read_contents(file), np.float32)
            if matrix.shape != (rows, body.num_vertices):
                raise ValueError(
                    f"{file} has shape {matrix.shape}, but a body of topology '{body.topology}' needs "
                    f"{(rows, body.num_vertices)}."
                )
            return dataclasses.replace(body, regressors=body.regressors | {name: matrix})
    raise FileNotFoundError(
        f"Protocol {protocol.name} needs {stem} ({_SOURCE[name]}), which the body '{body.topology}' does not bring: "
        f"{_advice(directory)}"
    )


def _gendered(protocol: Protocol, neutral: BodyModel, directory: Path | None, gender: str) -> BodyModel:
    name = f"SMPL_{gender.upper()}"
    files = [] if directory is None else [directory / f"{name}{suffix}" for suffix in (".npz", ".pkl")]
    found = [file for file in files if file.is_file()]
    if not found:
        raise FileNotFoundError(
            f"Protocol {protocol.name} has gendered truth and needs {name} (from smpl.is.tue.mpg.de): "
            f"{_advice(directory)}"
        )
    body = load_body_model(found[0])
    if (body.topology, body.num_vertices, body.parents) != (neutral.topology, neutral.num_vertices, neutral.parents):
        raise ValueError(
            f"{found[0]} has topology '{body.topology}', but the prediction's body is '{neutral.topology}': "
            "truth and prediction must be meshes of one kind."
        )
    return body


def _advice(directory: Path | None) -> str:
    where = f"it is not in {directory}" if directory else f"name the folder with --bodies or {VARIABLE}"
    return f"{where}; `python -m hmr_jax.body.prepare FILES --out DIR` makes such a folder."
