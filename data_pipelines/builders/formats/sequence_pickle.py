"""A pickle that holds one recorded sequence as a dict, as 3DPW's and EMDB's files do; nothing in it is run."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from hmr_jax.io import safe_pickle


def read_sequence(path: epath.Path, needed: Sequence[str], data_set: str) -> dict[str, Any]:
    """The dict of a file.

    Raises:
        ValueError: the file is damaged, asks for what is not allowed, or lacks one of the `needed` keys.
    """
    try:
        with path.open("rb") as file:
            sequence = safe_pickle.load(file)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    missing = [name for name in needed if not isinstance(sequence, dict) or name not in sequence]
    if missing:
        raise ValueError(f"{path} is not a sequence of {data_set}: it lacks {', '.join(missing)}.")
    return sequence
