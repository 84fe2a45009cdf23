"""The arrays of truth and prediction files: plain npz, as docs/reference/scoring_files.md describes them.

Shapes: N samples.
"""

import ast
import re
from pathlib import Path

import numpy as np

from hmr_jax.body.genders import GENDERS, parse_gender
from hmr_jax.io.research_files import read_plain_npz


def read_arrays(path: Path, shapes: dict[str, tuple[int | str, ...]], what: str) -> dict[str, np.ndarray]:
    """Arrays (N, ...) of a file, checked."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} file {path}.")
    arrays = read_plain_npz(path)
    known = {*shapes, "keys", "topology", "gender"}
    if "keys" not in arrays:
        raise ValueError(f"{path} has no 'keys'; a {what} file holds keys and some of {', '.join(shapes)}.")
    if unknown := sorted(arrays.keys() - known):
        raise ValueError(f"{path} holds '{unknown[0]}'; a {what} file holds keys and some of {', '.join(shapes)}.")
    if arrays["keys"].ndim != 1 or not len(arrays["keys"]):
        raise ValueError(f"'keys' in {path} has the shape {arrays['keys'].shape}; expected one key for each sample.")
    count = len(arrays["keys"])
    for name, shape in shapes.items():
        if name not in arrays:
            continue
        if name == "pose" and arrays[name].shape == (count, 72):
            arrays[name] = arrays[name].reshape(count, 24, 3)
        found = arrays[name].shape
        fits = len(found) == len(shape) + 1 and found[0] == count
        fits &= 0 not in found and all(want in ("V", have) for want, have in zip(shape, found[1:], strict=False))
        if not fits or arrays[name].dtype.kind != "f":
            raise ValueError(f"'{name}' in {path} is {arrays[name].dtype}{found}; expected float ({count}, "
                             f"{', '.join(map(str, shape))}).")  # fmt: skip
    return arrays


def read_texts(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Text or whole numbers as str; bytes are decoded, also where they were written out as b'...', as h5py's are.

    Raises:
        ValueError: they are neither.
    """
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"'{name}' in {path} holds bytes that are not UTF-8: give text.") from None
    if values.dtype.kind not in "Uiu":
        raise ValueError(f"'{name}' in {path} is {values.dtype}: give text.")
    texts = values.astype(str)
    decoded = [_written_bytes(text) for text in texts.flat]
    return texts if None in decoded else np.array(decoded, str).reshape(texts.shape)


def _written_bytes(text: str) -> str | None:
    """The text in b'...', or None if it is no such text."""
    if not re.fullmatch(r"b(['\"]).*\1", text, re.DOTALL):
        return None
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def read_word(value: np.ndarray, name: str, path: Path) -> str:
    """The one word of an array."""
    words = set(read_texts(value, name, path).flat)
    if len(words) != 1:
        raise ValueError(f"'{name}' in {path} should be one word, not {len(words)} different ones.")
    return words.pop()


def read_genders(values: np.ndarray, count: int, path: Path) -> np.ndarray:
    """(count,) numbers of the genders; one alone is that of all people."""
    texts = read_texts(values, "gender", path) if values.dtype.kind in "SU" else values.astype(str)
    texts = np.full(count, texts[()]) if texts.ndim == 0 else texts.reshape(-1) if texts.shape == (count, 1) else texts
    if texts.shape != (count,):
        raise ValueError(f"'gender' in {path} has the shape {values.shape}; expected one for each of the {count} keys.")
    parsed = [parse_gender(text) for text in texts.tolist()]
    if None in parsed:
        unknown = texts[parsed.index(None)]
        raise ValueError(f"{path} has the gender '{unknown}': use n, m, f, neutral, male or female.")
    return np.array([GENDERS.index(gender) for gender in parsed if gender], np.int32)


def rows_by_key(keys: np.ndarray, path: Path) -> dict[str, int]:
    """Key -> row."""
    rows = {key: row for row, key in enumerate(keys.tolist())}
    if len(rows) < len(keys):
        values, counts = np.unique(keys, return_counts=True)
        twice = ", ".join(map(str, values[counts > 1][:3]))
        raise ValueError(f"{path} has {len(keys) - len(rows)} keys more than once, such as {twice}.")
    return rows
