"""Genders of bodies: their codes in labels, batches and file names, and how to find and load their files.

SMPL and SMPL-X come as one model for each gender. Labels say "n", "m" or "f"; batches hold the position in `GENDERS`;
files are SMPL_NEUTRAL.npz and so on, as `python -m hmr_jax.body.prepare FILES --out DIR` names them.
"""

import os
from pathlib import Path
from typing import Literal

from hmr_jax.body.default_body import load_default_body
from hmr_jax.body.loading import load_body_model
from hmr_jax.body.model import BodyModel

Gender = Literal["n", "m", "f"]
GENDERS: tuple[Gender, ...] = ("n", "m", "f")
"""A batch's "gender" is a position in this list: 0 neutral, 1 male, 2 female."""
NAMES: dict[Gender, str] = {"n": "neutral", "m": "male", "f": "female"}
VARIABLE = "HMR_JAX_BODIES"
"""Environment variable: the folder of body models where no option names one."""
SUFFIXES = (".npz", ".pkl")
ADVICE = "`python -m hmr_jax.body.prepare FILES --out DIR` makes such a folder"
_BY_WORD: dict[str, Gender] = {word: gender for gender in GENDERS for word in (gender, NAMES[gender])}


def parse_gender(text: str | bytes) -> Gender | None:
    """n, m or f of a label in any case; None for any other word, since a guess could pick a wrong body."""
    word = text.decode("latin1") if isinstance(text, bytes) else str(text)
    return _BY_WORD.get(word.strip().lower())


def file_stem(gender: Gender, model: str = "SMPL") -> str:
    """File name without suffix, such as SMPL_NEUTRAL; `model` may be SMPLX."""
    return f"{model}_{NAMES[gender].upper()}"


def find_body_file(folder: Path, gender: Gender, model: str = "SMPL") -> Path | None:
    """The file of a gender's body in a folder, npz before pkl; None if there is none."""
    files = (folder / f"{file_stem(gender, model)}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.exists()), None)


def body_folder(given: str | Path | None) -> Path | None:
    """The folder of body models: the one given (or that of the file given), else that of HMR_JAX_BODIES, else None.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    source = given or os.environ.get(VARIABLE)
    if not source:
        return None
    path = Path(source).expanduser()
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} with body models.")
    return folder


def load_gender(folder: Path | None, gender: Gender, needed_by: str) -> BodyModel:
    """Loads SMPL of a gender from a folder.

    Args:
        folder: see `body_folder`.
        gender: which body.
        needed_by: what needs the body, for the message if the file is missing.

    Raises:
        FileNotFoundError: there is no folder, or no such file in it.
        ValueError: the file is damaged or not an SMPL model.
    """
    file = None if folder is None else find_body_file(folder, gender)
    if file is None:
        where = f"it is not in {folder}" if folder else f"name the folder with --bodies or {VARIABLE}"
        raise FileNotFoundError(f"{needed_by} needs {file_stem(gender)} (from smpl.is.tue.mpg.de): {where}; {ADVICE}.")
    return load_body_model(file)


def load_genders(source: str | Path) -> dict[Gender, BodyModel]:
    """Loads every body that a source holds.

    Args:
        source: a folder with some of SMPL_NEUTRAL, SMPL_MALE and SMPL_FEMALE as .npz or .pkl; one such file, which is
            taken as the neutral body; or "default": the built-in body for every gender.

    Raises:
        FileNotFoundError: there is no body model.
        ValueError: a file is damaged or not an SMPL model.
    """
    if source == "default":
        return dict.fromkeys(GENDERS, load_default_body())
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return {"n": load_body_model(source)}
    files = {gender: find_body_file(folder, gender) for gender in GENDERS}
    models = {gender: load_body_model(file) for gender, file in files.items() if file}
    if not models:
        names = ", ".join(map(file_stem, GENDERS))
        raise FileNotFoundError(f"{folder} holds no body model: it needs {names} as .npz or .pkl; {ADVICE}.")
    return models
