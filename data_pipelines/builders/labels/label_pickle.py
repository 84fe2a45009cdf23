"""A pickle that holds labels as a dict, as files of 3DPW, EMDB and RICH do; nothing in it is run."""

from collections.abc import Iterable
from typing import Any

from etils import epath

from hmr_jax.io import safe_pickle


def read_labels(path: epath.Path, needed: Iterable[str], what: str) -> dict[str, Any]:
    """The dict of a file.

    Args:
        path: of the file.
        needed: keys that it must have.
        what: names the contents in messages, such as "a sequence of 3DPW".

    Raises:
        ValueError: the file is damaged, asks for what is not allowed, or lacks a key.
    """
    try:
        with path.open("rb") as file:
            labels = safe_pickle.load(file)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    missing = [name for name in needed if not isinstance(labels, dict) or name not in labels]
    if missing:
        raise ValueError(f"{path} is not {what}: it lacks {', '.join(missing)}.")
    return labels
