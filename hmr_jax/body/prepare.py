"""Convert a user's SMPL files once, and report which files are still missing and what they are needed for.

    python -m hmr_jax.body.prepare FILE... --out DIR

Files are recognised by their contents. Only the gender of a body is read from the name of its file or folder, and a
regressor that is given without a body is known by its exact name. SMPL models become npz files with the extra
regressors inside, so `load_body_model` needs no other file. A later run with files that were missing completes the
folder.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.body.genders import NAMES, file_stem, parse_gender
from hmr_jax.body.model import Array, BodyModel
from hmr_jax.body.smpl_files import REGRESSOR_FILES, check_regressor, identify, identify_regressor, read_smpl
from hmr_jax.io import atomic
from hmr_jax.io.research_files import read_contents

_SMPL = "SMPL for Python at smpl.is.tue.mpg.de"
_SPIN = "SPIN's data archive"
# All files in use: what they are needed for, and where they come from.
WANTED = {
    "SMPL_NEUTRAL": ("SMPL predictions, and training or evaluation on data with SMPL labels", _SMPL),
    "SMPL_MALE": ("the exact ground truth of data with gendered labels, such as 3DPW", _SMPL),
    "SMPL_FEMALE": ("the exact ground truth of data with gendered labels, such as 3DPW", _SMPL),
    "SMPL_to_J19": ("the 44 keypoints as HMR2.0 defines them", "HMR2.0's (4D-Humans) data archive"),
    "J_regressor_extra": ("the 44 keypoints as SPIN defines them, where SMPL_to_J19 is missing", _SPIN),
    "J_regressor_h36m": ("evaluation with 14 or 17 joints on Human3.6M and 3DPW", _SPIN),
    "smpl_mean_params": ("starting training from SPIN's mean pose", _SPIN),
    "smplx2smpl": ("data with SMPL-X labels", "SMPL-X's model transfer data at smpl-x.is.tue.mpg.de"),
}


def prepare(files: list[Path], out: Path) -> list[str]:
    """Converts files, and those already in `out`, into `out`.

    Args:
        files: SMPL models, regressors and the other files of `WANTED`, by any name.
        out: folder for the results; created if it does not exist.

    Returns:
        The report: a line for each file that was written and each file that is missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is damaged or of an unknown kind, nothing tells which regressor it is, or two files would
            become the same result; nothing is written then.
    """
    paths = dict.fromkeys([*sorted(out.glob("*.np[yz]")), *files])
    contents = {path: read_contents(path) for path in paths}
    kinds = {path: identify(content) for path, content in contents.items()}
    for path in files:
        if kinds[path] not in ("smpl", "a regressor", *WANTED):
            known = ", ".join(list(WANTED)[3:])
            raise ValueError(f"{path} is {kinds[path] or 'of an unknown kind'}: give SMPL models or {known}.")

    models = {path: read_smpl(path) for path, kind in kinds.items() if kind == "smpl"}
    origins: dict[str, Path] = {}
    results: dict[str, Any] = {}
    for path, kind in kinds.items():
        if kind == "a regressor":
            kind = identify_regressor(contents[path], path, models.values())
        if kind in WANTED:
            _add(results, origins, kind, contents[path], path)
    regressors = {name: results[stem] for name, (stem, _) in REGRESSOR_FILES.items() if stem in results}
    for name, matrix in regressors.items():
        check_regressor(matrix, f"The {name} regressor in {origins[REGRESSOR_FILES[name][0]]}")
    for path, model in models.items():
        _add(results, origins, _model_name(path), _smpl_arrays(model, regressors, path), path)

    out.mkdir(parents=True, exist_ok=True)
    report = [f"{name}: {_write(out / name, content)}" for name, content in results.items()]
    for path in models:
        if path in files:
            name = _model_name(path)
            report.append(
                f"{path} is taken as {name}, by its name"
                if name in WANTED
                else f"the name of {path} tells no gender: rename it, for example to SMPL_NEUTRAL, and give it again"
            )
    for name, (purpose, source) in WANTED.items():
        if name not in results and not (name == "J_regressor_extra" and "SMPL_to_J19" in results):
            report.append(f"missing {name}: needed for {purpose}; it comes with {source}")
    return report


def _add(results: dict[str, Any], origins: dict[str, Path], name: str, content: Any, path: Path) -> None:
    """Adds a result, which must not be there with other values."""
    if name in results and not _same(results[name], content):
        raise ValueError(
            f"{origins[name]} and {path} would both become {name}, but differ: give one of them, or choose another "
            "folder for the result. The gender of a body is read from the name of its file or folder."
        )
    results[name], origins[name] = content, path


def _same(first: Any, second: Any) -> bool:
    """Whether two files hold the same arrays, as far as both have them."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return np.array_equal(first, second)
    return all(np.array_equal(first[key], second[key]) for key in first.keys() & second.keys())


def _model_name(path: Path) -> str:
    """Such as SMPL_NEUTRAL, if the name of the file or else of its folder tells the gender; the contents do not."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    genders = {gender for word in words if (gender := parse_gender(word))}
    folder = path.absolute().parent.name.lower()
    if not genders and folder in NAMES.values():
        genders = {gender for gender, name in NAMES.items() if name == folder}
    return file_stem(genders.pop()) if len(genders) == 1 else path.stem


def _smpl_arrays(model: BodyModel, regressors: dict[str, np.ndarray], path: Path) -> dict[str, Array]:
    """A model under SMPL's own keys, dense, with regressors as "regressor_<name>"."""
    together = model.regressors | {name: np.asarray(matrix, np.float32) for name, matrix in regressors.items()}
    for name, matrix in together.items():
        if not np.array_equal(matrix, model.regressors.get(name, matrix)):
            raise ValueError(f"The {REGRESSOR_FILES[name][0]} given differs from the one that {path} has already.")
        if matrix.shape[1] != model.num_vertices:
            raise ValueError(
                f"The {REGRESSOR_FILES[name][0]} given is for {matrix.shape[1]} vertices, but {path} has "
                f"{model.num_vertices}."
            )
    tree = np.stack([np.array(model.parents), np.arange(model.num_joints)])
    return {
        "v_template": model.v_template,
        "shapedirs": model.shapedirs,
        "posedirs": model.posedirs,
        "J_regressor": model.joint_regressor,
        "weights": model.skinning_weights,
        "kintree_table": tree,
        "f": model.faces,
        **{f"regressor_{name}": matrix for name, matrix in together.items()},
    }


def _write(stem: Path, content: Any) -> Path:
    """Writes an array as npy or a dictionary as npz."""
    if not isinstance(content, np.ndarray):
        path = stem.with_name(stem.name + ".npz")
        atomic.write_npz(path, _sparse_transfer(content), compressed=False)
        return path
    path = stem.with_name(stem.name + ".npy")
    with atomic.writing(path) as part, part.open("wb") as file:
        np.save(file, content)
    return path


def _sparse_transfer(content: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file; SMPL-X's transfer matrix (300 MB, nearly all zero) as rows, columns and values."""
    if "matrix" not in content:
        return {key: value for key, value in content.items() if isinstance(value, np.ndarray)}
    matrix = content["matrix"]
    rows, columns = np.nonzero(matrix)
    parts = {"rows": rows, "columns": columns, "values": matrix[rows, columns], "shape": np.array(matrix.shape)}
    return {f"smplx2smpl_{key}": value for key, value in parts.items()}


def main(files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE...")]], out: Path) -> None:
    """Converts SMPL files once, and says what is still missing for what.

    Args:
        files: SMPL models, regressors and mean parameters, by any name: they are recognised by what is in them.
        out: folder for the results; a later run with more files completes it.
    """
    if not files:
        raise ValueError("Name a file of SMPL's; --help lists the options.")
    print("\n".join(prepare(list(files), out)))


if __name__ == "__main__":
    cli.run(main, "python -m hmr_jax.body.prepare")
