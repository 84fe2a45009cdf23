"""The bodies and regressors that a protocol needs.

SMPL and its regressors are the user's files: a folder as `python -m hmr_jax.body.prepare FILES --out DIR` writes it,
named by an option or by the variable HMR_JAX_BODIES. The built-in body has its own regressors.
"""

import dataclasses
from pathlib import Path

from hmr_jax.body import Bodies, BodyModel
from hmr_jax.body.genders import ADVICE, GENDERS, VARIABLE, body_folder, load_gender
from hmr_jax.body.smpl_files import REGRESSOR_FILES, read_regressor
from hmr_jax.protocols.protocol import Protocol

_SOURCE = {"h36m": "SPIN's data archive", "j19": "HMR2.0's (4D-Humans) data archive"}


def load_bodies(protocol: Protocol, neutral: BodyModel, folder: str | Path | None = None) -> Bodies:
    """The bodies that a protocol needs: the prediction's own, and those of the truth.

    Args:
        protocol: the protocol.
        neutral: the body of the prediction.
        folder: where SMPL_MALE, SMPL_FEMALE (.npz or .pkl) and regressors are; None: HMR_JAX_BODIES, if set.

    Raises:
        FileNotFoundError: a file is missing; the message says which and where it comes from.
        ValueError: a file is of another topology.
    """
    directory = body_folder(folder)
    neutral = _with_regressor(protocol, neutral, directory)
    if protocol.gender == "neutral" or protocol.truth != "body":
        return Bodies(neutral)
    needed_by = f"Protocol {protocol.name} has gendered truth and"
    male, female = (load_gender(directory, gender, needed_by) for gender in GENDERS[1:])
    for body in (male, female):
        if (body.topology, body.num_vertices, body.parents) != (
            neutral.topology,
            neutral.num_vertices,
            neutral.parents,
        ):
            raise ValueError(
                f"The gendered bodies in {directory} have topology '{body.topology}', but the prediction's body is "
                f"'{neutral.topology}': name a folder of bodies with that topology."
            )
    return Bodies(neutral, (male, female))


def _with_regressor(protocol: Protocol, body: BodyModel, directory: Path | None) -> BodyModel:
    """The body with the regressor that the protocol reads."""
    name = protocol.regressor
    if protocol.space == "2d" or name in ("kinematic", "body") or name in body.regressors:
        return body
    matrix = None if directory is None else read_regressor(directory, name, body)
    if matrix is None:
        where = f"it is not in {directory}" if directory else f"name the folder with --bodies or {VARIABLE}"
        raise FileNotFoundError(
            f"Protocol {protocol.name} needs {REGRESSOR_FILES[name][0]} ({_SOURCE[name]}), which the body "
            f"'{body.topology}' does not have: {where}; {ADVICE}."
        )
    return dataclasses.replace(body, regressors=body.regressors | {name: matrix})
