"""JSON files: UTF-8, and what editors of other systems make of it (a byte order mark, UTF-16)."""

import json
from pathlib import Path
from typing import Any

from hmr_jax.io import atomic


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically."""
    atomic.write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not valid JSON.
    """
    try:
        return load_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the folder is not a run of hmr_jax.") from None


def load_json(path: Path) -> Any:
    """Reads any JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not valid JSON, or an object has a name twice.
    """
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); was it cut off?") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"'{name}' stands twice in one object")
        made[name] = value
    return made
