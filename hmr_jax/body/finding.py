"""The body that a checkpoint was trained with, wherever its file is now.

A configuration names the file, and once trained the body's content too. Any file with the same content may stand in:
the same SMPL file elsewhere, under another name, or as .npz in place of .pkl.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from hmr_jax.body.genders import ADVICE, SUFFIXES, VARIABLE, body_folder, file_stem, find_body_file
from hmr_jax.body.loading import load_body_model
from hmr_jax.body.model import BodyModel
from hmr_jax.config import ModelConfig

_ARRAYS = ("v_template", "shapedirs", "posedirs", "joint_regressor", "skinning_weights", "faces")


def content_of(body: BodyModel) -> str:
    """A hash of what poses and shapes the body; regressors of other joint sets do not count."""
    digest = hashlib.sha256(repr((body.topology, body.parents)).encode())
    for name in _ARRAYS:
        array = np.asarray(getattr(body, name))
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<i4" if array.dtype.kind in "iu" else "<f4").data)
    return digest.hexdigest()[:32]


def with_content(config: ModelConfig, body: BodyModel | None) -> ModelConfig:
    """The configuration with the content of a body from a file, which is written with a checkpoint."""
    if body is None or config.body == "default":
        return config
    return dataclasses.replace(config, body_content=content_of(body))


def named_body(config: ModelConfig, given: str | Path | None) -> ModelConfig:
    """The configuration with the body file or folder that the user gives in place of its own."""
    return dataclasses.replace(config, body=str(given)) if given and config.body != "default" else config


def find_body(source: str, content: str = "") -> BodyModel:
    """Loads the body of a configuration.

    Args:
        source: "default", a file, or a folder: of which the body with this content, without one SMPL_NEUTRAL.
        content: of the body that is wanted, see `content_of`; "": any. If `source` is not there or is another body, the
            folder that HMR_JAX_BODIES names is searched.

    Raises:
        FileNotFoundError: there is no such body.
        ValueError: the file is another body, or is damaged.
    """
    if source == "default":
        return load_body_model()
    path = Path(source).expanduser()
    if not content:
        file = find_body_file(path, "n") if path.is_dir() else path
        if file is None:
            raise FileNotFoundError(f"{path} holds no {file_stem('n')} as .npz or .pkl: name a file; {ADVICE}.")
        if not file.is_file():
            raise FileNotFoundError(
                f"There is no body model {source}: name an SMPL .pkl or .npz file or a folder that holds it (of a "
                "checkpoint, with --body or --bodies), or 'default'."
            )
        return load_body_model(file)
    if path.is_file() and content_of(body := load_body_model(path)) == content:
        return body
    folders = [folder for folder in (path, body_folder(None)) if folder is not None and folder.is_dir()]
    for file in sorted(file for folder in folders for file in folder.iterdir() if file.suffix in SUFFIXES):
        try:
            body = load_body_model(file)
        except (OSError, ValueError):  # regressors and other arrays lie beside bodies
            continue
        if content_of(body) == content:
            return body
    found = f"{path} is another body than" if path.is_file() else f"{path} does not hold"
    raise FileNotFoundError(
        f"{found} the one that the checkpoint was trained with: name that file, or a folder that holds it, with --body "
        f"or {VARIABLE}."
    )
