"""Load a body: the built-in one, or a user's SMPL file."""

from pathlib import Path

from hmr_jax.body.default_body import load_default_body
from hmr_jax.body.model import BodyModel
from hmr_jax.body.smpl_files import read_smpl


def load_body_model(source: str | Path = "default") -> BodyModel:
    """Loads a body. The built-in one is read once and shared: do not change its arrays.

    Args:
        source: "default" for the built-in body (CC0, topology "hmr-default"), or the path of an SMPL .pkl or .npz.
            Extra regressors are taken from SMPL_to_J19.pkl, J_regressor_extra.npy and J_regressor_h36m.npy beside it.

    Returns:
        The body as NumPy float32 arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an SMPL model or is damaged; the message says what it is.
    """
    if source == "default":
        return load_default_body()
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise FileNotFoundError(f"There is no body model {source}: give an SMPL .pkl or .npz file, or 'default'.")
    return read_smpl(path)
