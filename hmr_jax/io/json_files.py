"""JSON files, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from hmr_jax.io import atomic


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    atomic.write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the folder is not a run of hmr_jax.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); was it cut off?") from None
