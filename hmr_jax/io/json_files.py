"""JSON files."""

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
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the folder is not a run of hmr_jax.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); was it cut off?") from None
