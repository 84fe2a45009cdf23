"""Results of an earlier run that still answer what is asked: images that need not be predicted again."""

import hashlib
import json
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hmr_jax import __version__
from hmr_jax.config.experiment import to_dict
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.inference import Predictor
from hmr_jax.io.json_files import load_json


def what_is_common(predictor: Predictor, **options: Any) -> dict[str, Any]:
    """What all results of a call depend on: version, network, parameters, body, detector, and options."""
    detector = predictor.detector
    return {
        "version": __version__,
        "config": to_dict(predictor.config),
        "parameters": predictor.parameters_hash,
        "settings": predictor.settings,
        "detector": [type(detector).__name__, file_identity(getattr(detector, "path", ""))] if detector else None,
    } | options


def file_identity(path: str | Path) -> list[Any]:
    """Absolute path, size and time of change of a file, or of nothing for what is no file."""
    path = Path(path)
    if not path.exists():
        return [str(path)]
    about = path.stat()
    return [str(path.resolve()), about.st_size, about.st_mtime_ns]


def request_of(common: Mapping[str, Any], image: Path, boxes: Any, intrinsics: Any, keypoints: Any = None) -> str:
    """A hash of everything that an image's results depend on: 32 hexadecimal digits."""
    own = {
        "image": file_identity(image),
        "boxes": boxes if boxes is None or isinstance(boxes, str) else np.asarray(boxes, float).tolist(),
        "intrinsics": intrinsics,
        "keypoints": keypoints,
    }
    text = json.dumps({**common, **own}, sort_keys=True, default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """What is no JSON by itself: numbers of arrays and of calibrated cameras in full, and anything else as text."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return vars(value) if isinstance(value, Camera) else str(value)


def is_done(output: Path, name: str, kinds: Collection[str], request: str) -> bool:
    """Whether the folder holds the results called `name` of just this request, as their numbers state."""
    wanted = {"json": f"{name}.json", "npz": f"{name}.npz", "overlay": f"{name}_overlay.png"}
    if not all((output / file).is_file() for kind, file in wanted.items() if kind in kinds):
        return False
    try:
        if "json" in kinds:
            return load_json(output / wanted["json"]).get("request") == request
        if "npz" in kinds:
            with np.load(output / wanted["npz"]) as arrays:
                return json.loads(str(arrays["header"])).get("request") == request
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile):
        return False  # damaged, or of another program
    return False  # images alone do not state what they are of
